"""Games of other packages that are known to play well, by name."""

from __future__ import annotations
