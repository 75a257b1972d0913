"""Exit codes, and how a command says that it was given something it cannot use."""

from __future__ import annotations

from typing import NoReturn

import typer

OK = 0
DIFFERENT = 1
"""The thing that was checked does not hold."""
UNUSABLE = 2
"""Bad usage or bad input: nothing was checked or started."""


def refuse(message: str) -> NoReturn:
    """Say on stderr what is wrong with the input, and end with :data:`UNUSABLE`."""
    for line in message.splitlines():
        typer.echo(f"rollgym: {line}", err=True)
    raise typer.Exit(UNUSABLE)
