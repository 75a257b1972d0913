"""Code by name: ``package.module:callable``.

Finding it imports the module, that is, runs its code. Such names come from one's own command line and configuration,
never from the other side of a connection or from a file of somebody else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xxhash

from rollgym.games.errors import GameError

_CALLABLE = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")


def is_code_name(name: Any) -> bool:
    """Whether a name has the form ``package.module:callable``. Nothing is imported."""
    return isinstance(name, str) and _CALLABLE.fullmatch(name) is not None


def module_of(name: str) -> str:
    """The module part of such a name."""
    return name.partition(":")[0]


def find_callable(field: str, name: str) -> Callable[..., Any]:
    """Import the module and give what the name stands for. ``field`` is what errors call the name.

    Raises :class:`~rollgym.games.errors.GameError` for a name that leads nowhere or not to a callable; errors of the
    module's own code pass through.
    """
    match = _CALLABLE.fullmatch(name)
    if match is None:
        raise GameError(field, name, "package.module:callable")
    import_from_here(match["module"])
    try:
        found: Any = import_module(match["module"])
    except ModuleNotFoundError as error:
        raise GameError(field, name, f"a module that can be imported ({error})") from error
    for part in match["path"].split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise GameError(field, name, f"a name that is in the module ({error})") from error
    if not callable(found):
        raise GameError(field, name, "a callable: a class or a function")
    checked: Callable[..., Any] = found
    return checked


def import_from_here(module: str) -> None:
    """Let modules in the current folder be found, as ``python -m`` does: commands start without it."""
    top = module.partition(".")[0]
    here = Path.cwd()
    if top not in sys.modules and find_spec(top) is None and any((here / n).exists() for n in (top, f"{top}.py")):
        sys.path.insert(0, str(here))


def version_of(module: str) -> str:
    """The distribution that brings an imported module and its version; without one, a hash of the module's source."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return "unknown"
    top = module.partition(".")[0]
    for name in packages_distributions().get(top, []):
        found = distribution(name)
        # Careless packages bring a top-level `tests`, which is not the one at hand.
        if Path(file).is_relative_to(Path(str(found.locate_file("")))):
            return f"{name}-{found.version}"
    return f"source-{xxhash.xxh3_64_hexdigest(Path(file).read_bytes())}"
