"""``rollgym serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rollgym.commands.exits import UNUSABLE, refuse
from rollgym.commands.output import say


def serve(
    config: Annotated[
        str | None, typer.Argument(help="An experiment file, or the name of a built-in one.", show_default=False)
    ] = None,
    host: Annotated[
        str | None, typer.Option(envvar="ROLLGYM_HOST", help="Address to listen on.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, envvar="ROLLGYM_PORT", help="0: any free one.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="ROLLGYM_DATA", help="The dataset folder.", show_default=False)
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Logs as JSON also in a terminal.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End when one match is over.")] = False,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Run the server alone: it pairs clients, relays their packets, judges and stores what they recorded.

    Without CONFIG it serves Pong on 127.0.0.1:8000 with the data in ./data. Ctrl-C or SIGTERM end it well.

    Example: rollgym serve config/pong.yaml --port 8000
    """
    from rollgym.config.file import ExperimentFile
    from rollgym.config.problems import ConfigError
    from rollgym.config.reading import find_config, read_config
    from rollgym.games.description import Description
    from rollgym.running.parent_watch import emit, end_with_parent
    from rollgym.server.errors import ServerError
    from rollgym.server.http.serve import configure_logs, main_serve

    if child:
        end_with_parent()
    configure_logs(json=True if log_json or child else None)
    file = ExperimentFile()
    description: Description | None = None
    try:
        if config is not None:
            file, description = read_config(find_config(config))
    except ConfigError as error:
        refuse(str(error))
    changes: dict[str, Any] = {"host": host, "port": port, "data": data}
    settings = file.server_settings(**{name: value for name, value in changes.items() if value is not None})

    def ready(url: str) -> None:
        if child:
            emit("ready", url=url)
        else:
            say(f"serving {settings.experiment.game.id} at {url}, data in {settings.data}")

    try:
        main_serve(settings, description=description, once=once, ready=ready)
    except ServerError as error:
        if child:
            emit("error", message=str(error))
            raise typer.Exit(UNUSABLE) from error
        refuse(str(error))
