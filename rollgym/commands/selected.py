"""What ``verify`` and ``export`` say of a data folder beyond its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def not_in_the_dataset(data: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """What a data folder's catalogue has that no file of an episode shows: for ``--json``, and as lines for people.

    None and no lines for anything but a data folder. A catalogue that cannot be read is said, and is no failure: what
    was asked for is in the files.
    """
    import msgspec

    from rollgym.server.errors import ServerError
    from rollgym.server.upkeep.selection import selection

    try:
        found = selection(data)
    except ServerError as error:
        return {"error": str(error)}, [str(error)]
    return (None, []) if found is None else (msgspec.to_builtins(found), found.lines())
