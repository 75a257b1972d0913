"""Our games as environments of other libraries, for training: gymnasium and PettingZoo."""

from __future__ import annotations
