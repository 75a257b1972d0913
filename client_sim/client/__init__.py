"""One bot client at a server: joining, being paired, playing, being told the verdicts.

Event loop and sockets are here.
"""

from __future__ import annotations
