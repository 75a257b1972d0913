"""``rollgym compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rollgym.commands.exits import DIFFERENT, refuse
from rollgym.commands.output import say

if TYPE_CHECKING:
    from rollgym.dataset.compare import Comparison, FolderComparison


def compare(
    first: Annotated[Path, typer.Argument(help="A file (Parquet, CSV), or a folder.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Another one.", show_default=False)],
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Compare only actions, rewards, ...; may be repeated.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Do two recordings hold the same frames? Names the first difference.

    Files are peers' exports, stored episodes, CSV or flat Parquet exports; of folders, the files that belong together
    by name. Compared are the facts, aligned by frame; each peer's own view of them rightly differs. Within one form
    values are equal bit for bit, between forms 1 and 1.0 are the same number.
    Exit code: 0 identical, 1 different, 2 a file is unreadable or empty.

    Example: rollgym compare episode_000.player_0.parquet episode_000.player_1.parquet
    """
    import msgspec

    from rollgym.commands.json_output import print_json
    from rollgym.dataset.compare import Comparison, compare_paths
    from rollgym.protocol.files.parquet import EpisodeFileError

    try:
        found = compare_paths(first, second, only or ())
    except EpisodeFileError as error:
        refuse(str(error))
    if as_json:
        print_json(msgspec.to_builtins(found))
    elif isinstance(found, Comparison):
        _say(found)
    else:
        _say_folders(found)
    if not found.identical:
        raise typer.Exit(DIFFERENT)


def _say(found: Comparison) -> None:
    if found.identical:
        columns = sorted(set(found.columns))
        say(f"identical: {found.frames[0]} frames, {' and '.join(map(str, columns))} columns")
        return
    say(f"different: {found.frames[0]} and {found.frames[1]} frames")
    say(f"first difference: {found.difference}")
    for field in found.differing_fields:
        say(f"  {field}")
    for name, rows in found.differing_rows.items():
        say(f"  {name}: {rows} differing row{'s' if rows != 1 else ''}")


def _say_folders(found: FolderComparison) -> None:
    for pair in found.pairs:
        if not pair.identical:
            say(f"{pair.first} and {pair.second}")
            say(f"  first difference: {pair.difference}")
    for path in (*found.only_first, *found.only_second):
        say(f"{path}\n  has no counterpart")
    wrong = sum(not pair.identical for pair in found.pairs)
    frames = sum(pair.frames[0] for pair in found.pairs)
    lonely = len(found.only_first) + len(found.only_second)
    if found.identical:
        say(f"identical: {len(found.pairs)} pairs of files, {frames} frames")
    else:
        say(f"different: {wrong} of {len(found.pairs)} pairs, {lonely} files without a counterpart")
