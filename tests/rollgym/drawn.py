"""An environment of one's own that draws only if it was constructed to."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.adapters.broken import Sound


class Drawn(Sound):
    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, length: int = 40, render_mode: str | None = None) -> None:
        super().__init__(length)
        self.render_mode = render_mode

    def render(self) -> Any:
        if self.render_mode == "ansi":
            return f"moved {self.t} times"
        return np.full((8, 8, 3), self.t, np.uint8)
