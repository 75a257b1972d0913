"""``rollgym verify``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rollgym.commands.exits import DIFFERENT, UNUSABLE, refuse
from rollgym.commands.output import say
from rollgym.commands.selected import not_in_the_dataset


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
    any_version: Annotated[
        bool, typer.Option("--any-version", help="Play with the game as it is now, whatever version was recorded.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Re-simulate stored episodes: does every frame follow from the seed and the inputs?

    Exit code: 0 all do, 1 some do not (each is named with its first difference), 2 none differs, but some could
    not be checked (their game is not trusted, not to be had, or of another version here), or there is nothing to check.

    Example: rollgym verify data
    """
    import msgspec
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from rollgym.commands.json_output import print_json
    from rollgym.dataset.verify import NothingToVerifyError, episode_files, verify_files

    place = data.absolute()  # a game may change the current folder
    try:
        files = episode_files(data)
    except NothingToVerifyError as error:
        refuse("\n".join([str(error), *not_in_the_dataset(data)[1]]))
    results = []
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(files))
        for result in verify_files(files, jobs or os.cpu_count() or 1, frozenset(game or ()), any_version):
            results.append(result)
            progress.advance(task)
    results.sort(key=lambda result: result.path)
    failed = [result for result in results if result.checked and not result.ok]
    skipped = [result for result in results if not result.checked]
    checked = len(results) - len(skipped)
    frames = sum(result.frames for result in results if result.checked)
    counted, lines = not_in_the_dataset(place)
    if as_json:
        print_json(
            {
                "episodes": len(results),
                "frames": frames,
                "failed": len(failed),
                "not_checked": len(skipped),
                "files": msgspec.to_builtins(results),
                "catalogue": counted,
            }
        )
    else:
        for result in failed:
            say(f"differs: {result.path}: {result.detail}")
        for result in skipped:
            say(f"not checked: {result.path}: {result.detail}")
        said = []
        if failed:
            said.append(f"{len(failed)} of {checked} differ")
        elif checked:
            said.append(f"all {checked} agree with their replay")
        if skipped:
            said.append(f"{len(skipped)} not checked")
        say(f"{', '.join(said)} ({frames} frames)")
        for line in lines:
            say(line)
    if failed:
        raise typer.Exit(DIFFERENT)
    if skipped:
        raise typer.Exit(UNUSABLE)
