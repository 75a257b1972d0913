"""In which of its two forms rollgym is here (``hatch_build.py``). They do the same; one is faster."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec


def is_compiled() -> bool:
    """Whether what is played at every frame is compiled code. Imports none of it."""
    spec = find_spec("rollgym.protocol.packets")
    return spec is not None and str(spec.origin).endswith(tuple(EXTENSION_SUFFIXES))


def build_form() -> str:
    """For people: ``compiled`` or ``pure Python``."""
    return "compiled" if is_compiled() else "pure Python"
