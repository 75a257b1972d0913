"""What an environment raised while it was checked, in one line: the error, and where in the environment's own code."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from rollgym.games.errors import GameError, Unsafe

OURS = str(Path(__file__).parents[1]) + "/"
LIBRARIES = tuple(sysconfig.get_path(name) + "/" for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def described(error: BaseException) -> str:
    """``RuntimeError: no more moves (my_env.py:14)``. The deepest line of the user's own code, if any.

    An error of ours that names its place in words needs none of that.
    """
    if isinstance(error, GameError) and not isinstance(error, Unsafe):
        return str(error)
    text = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    foreign = [frame for frame in frames if not frame.filename.startswith(OURS)]
    users = [frame for frame in foreign if not frame.filename.startswith(LIBRARIES)]
    found = users or foreign or frames
    return f"{text} ({Path(found[-1].filename).name}:{found[-1].lineno})" if found else text
