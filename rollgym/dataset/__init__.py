"""Reading what was recorded: loaded, compared, verified, exported, played again."""

from __future__ import annotations
