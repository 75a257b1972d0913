"""``rollgym play --upload-only``."""

from __future__ import annotations

from pathlib import Path

import typer

from rollgym.commands.exits import DIFFERENT, refuse
from rollgym.commands.output import say


def upload_only(url: str, spool: Path, as_json: bool) -> None:
    """Bring what a spool holds to the server. Ends with 1 if something is refused or stays, 2 without a server."""
    from rollgym.client_sim.exports.spool import SpoolError
    from rollgym.commands.json_output import print_json
    from rollgym.running.bots import ServerUnknownError, game_of_server
    from rollgym.running.event_loop import run_loop
    from rollgym.running.uploads import Brought, upload_left

    if not spool.exists():
        if as_json:
            print_json(Brought(0, [], 0)._asdict())
        else:
            say(f"nothing is waiting: there is no folder {spool}")
        return
    if not spool.is_dir():
        refuse(f"spool {spool}: not a folder")
    try:
        game_of_server(url)  # says at once if there is no server, where uploads would try again and again
        brought = run_loop(upload_left(spool, url))
    except (ServerUnknownError, SpoolError) as error:
        refuse(str(error))
    if as_json:
        print_json(brought._asdict())
    else:
        say(f"{brought.stored} uploaded, {len(brought.refused)} refused, {brought.waiting} still waiting")
        for reason in brought.refused:
            say(f"  refused: {reason}")
    if brought.refused or brought.waiting:
        raise typer.Exit(DIFFERENT)
