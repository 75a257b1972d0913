"""What the server serves: HTTP, the control connections, and the limits on both."""

from __future__ import annotations
