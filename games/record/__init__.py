"""What is recorded of a game: columns of frames, and the same frames simulated again."""

from __future__ import annotations
