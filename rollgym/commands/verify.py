"""``rollgym verify``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rollgym.commands.exits import DIFFERENT, refuse


def verify(
    data: Annotated[Path, typer.Argument(help="A data folder, another folder, or one file.", show_default=False)],
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at a time.  [default: one a core]")] = None,
    game: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A game beyond the built-in ones whose code may be imported; may be repeated.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Re-simulate stored episodes: does every frame follow from the seed and the inputs?

    Exit code: 0 all do, 1 some do not (each is named with its first difference), 2 there is nothing to check.

    Example: rollgym verify data
    """
    import msgspec
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from rollgym.commands.json_output import print_json
    from rollgym.verify import NothingToVerifyError, episode_files, verify_files

    try:
        files = episode_files(data)
    except NothingToVerifyError as error:
        refuse(str(error))
    results = []
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(files))
        for result in verify_files(files, jobs or os.cpu_count() or 1, frozenset(game or ())):
            results.append(result)
            progress.advance(task)
    results.sort(key=lambda result: result.path)
    failed = [result for result in results if not result.ok]
    frames = sum(result.frames for result in results)
    if as_json:
        print_json(
            {"episodes": len(results), "frames": frames, "failed": len(failed), "files": msgspec.to_builtins(results)}
        )
    else:
        for result in failed:
            typer.echo(f"differs: {result.path}: {result.detail}")
        state = f"{len(failed)} of {len(results)} differ" if failed else f"all {len(results)} agree with their replay"
        typer.echo(f"{state} ({frames} frames)")
    if failed:
        raise typer.Exit(DIFFERENT)
