"""``rollgym catalogue``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rollgym.commands.exits import DIFFERENT, refuse
from rollgym.commands.output import say


def rebuild(
    data: Annotated[Path, typer.Argument(help="A data folder that no server uses.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make the catalogue of a data folder anew from its files, if it is lost or damaged.

    The catalogue that is there is renamed; no file of an episode is changed. What no file says is listed.

    Exit code: 0 every file is in the new catalogue, 1 some are not (each is named), 2 the folder cannot be used.

    Example: rollgym catalogue rebuild data
    """
    import asyncio

    import msgspec

    from rollgym.commands.json_output import print_json
    from rollgym.server.errors import ServerError
    from rollgym.server.upkeep.rebuild import UNKNOWN, rebuild

    if not (data / "episodes").is_dir() and not (data / "inbox").is_dir():
        refuse(f"{data}: no data folder of a server")
    try:
        found = asyncio.run(rebuild(data))
    except ServerError as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"{data}: {error.strerror or error}")
    if as_json:
        print_json({**msgspec.to_builtins(found), "unknown": list(UNKNOWN)})
    else:
        say(f"in the catalogue: matches: {found.matches}, episodes: {found.episodes}, uploads: {found.uploads}")
        if found.before is not None:
            say(f"the catalogue of before is kept as {found.before}")
        if found.unlabelled:
            say(f"matches without a verdict, whose experiment and condition are not known: {found.unlabelled}")
        say("not known from the files:")
        for line in UNKNOWN:
            say(f"  {line}")
        for skipped in found.skipped:
            say(f"left out: {skipped.place}: {skipped.detail}")
    if found.skipped:
        raise typer.Exit(DIFFERENT)
