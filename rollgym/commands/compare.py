"""``rollgym compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rollgym.commands.exits import DIFFERENT, refuse


def compare(
    first: Annotated[Path, typer.Argument(help="An episode file (Parquet).", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Another one.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Do two exports of an episode hold the same frames? Names the first difference.

    Compared are the canonical frames, bit for bit; each peer's own view of them rightly differs.
    Exit code: 0 identical, 1 different, 2 a file is unreadable or empty.

    Example: rollgym compare episode_000.player_0.parquet episode_000.player_1.parquet
    """
    import msgspec

    from protocol.parquet import EpisodeFileError
    from rollgym.commands.json_output import print_json
    from rollgym.compare import compare_files

    try:
        found = compare_files(first, second)
    except EpisodeFileError as error:
        refuse(str(error))
    if as_json:
        print_json(msgspec.to_builtins(found))
    elif found.identical:
        typer.echo(f"identical: {found.frames[0]} frames, {found.columns[0]} columns")
    else:
        typer.echo(f"different: {found.frames[0]} and {found.frames[1]} frames")
        typer.echo(f"first difference: {found.difference}")
        for field in found.differing_fields:
            typer.echo(f"  {field}")
        for name, rows in found.differing_rows.items():
            typer.echo(f"  {name}: {rows} differing row{'s' if rows != 1 else ''}")
    if not found.identical:
        raise typer.Exit(DIFFERENT)
