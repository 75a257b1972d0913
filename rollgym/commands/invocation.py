"""How this command was called, so that what it suggests works when pasted."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def command_line(*arguments: str) -> str:
    """A ``rollgym`` command line that runs this very installation from the present folder."""
    return shlex.join([*_program(), *arguments])


def _program() -> list[str]:
    called = Path(sys.argv[0])
    if called.name != "rollgym":
        return [sys.executable, "-m", "rollgym"]
    found = shutil.which("rollgym")
    if found is not None and Path(found).resolve() == called.resolve():
        return ["rollgym"]
    relative = os.path.relpath(called)
    return [relative if not relative.startswith("..") else str(called)]
