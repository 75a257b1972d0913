"""``rollgym export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollgym.commands.exits import refuse
from rollgym.commands.output import say
from rollgym.commands.selected import not_in_the_dataset

if TYPE_CHECKING:
    from rollgym.dataset.export.plan import Plan


class Format(StrEnum):
    """What can be written."""

    CSV = "csv"
    PARQUET = "parquet"
    MINARI = "minari"


class Verdict(StrEnum):
    """Which episodes."""

    VERIFIED = "verified"
    DIVERGED = "diverged"
    SINGLE = "single"
    PARTIAL = "partial"
    UNJUDGED = "unjudged"
    ALL = "all"


def export(
    data: Annotated[Path, typer.Argument(help="A data folder, another folder, or one file.", show_default=False)],
    form: Annotated[Format, typer.Option("--format", help="What to write.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The folder to write to; made if it is not there.", show_default=False)],
    verdict: Annotated[
        list[Verdict] | None,
        typer.Option(
            help="Export these as well; may be repeated. unjudged: files that peers wrote.  [default: verified only]",
            show_default=False,
        ),
    ] = None,
    observations: Annotated[bool, typer.Option(help="csv, parquet: with the observations' columns.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Convert stored episodes. Only verified ones, unless --verdict says more; what is left out is counted.

    csv: a file for each episode and player, in the columns of Multi-User Gymnasium, with its provenance in a JSON file
    beside it. parquet: a flat file for each episode, for pandas and polars. minari: a dataset for each game, for
    minari.load_dataset (needs the extra: pip install 'rollgym[minari]'). Exit code: 0 done, 2 nothing to export.

    Example: rollgym export data --format csv --out csv
    """
    from rollgym.dataset.export.plan import UNJUDGED, NothingToExportError, plan
    from rollgym.dataset.filters import VERDICTS
    from rollgym.protocol.files.parquet import EpisodeFileError

    verdicts = {str(value) for value in verdict or ()} | {"verified"}
    if "all" in verdicts:
        verdicts = {*VERDICTS, UNJUDGED}
    try:
        found = plan(data, sorted(verdicts))
    except (EpisodeFileError, FileNotFoundError, NothingToExportError) as error:
        refuse("\n".join([str(error), *not_in_the_dataset(data)[1]]))
    try:
        report = _write(found, form, out, observations)
    except (EpisodeFileError, NothingToExportError) as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"--out {out} cannot be written: {error.strerror or error}")
    counted, lines = not_in_the_dataset(data)
    report = {
        "format": str(form),
        "out": str(out),
        "episodes": len(found.wanted),
        "frames": sum(source.layout.header.frames for source in found.wanted),
        "left_out": dict(sorted(found.left_out.items())),
        **report,
        "catalogue": counted,
    }
    if as_json:
        from rollgym.commands.json_output import print_json

        print_json(report)
    else:
        _say(report)
        for line in lines:
            say(line)


def _write(found: Plan, form: Format, out: Path, observations: bool) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from rollgym.dataset.export.flat_files import export_csv, export_parquet
    from rollgym.dataset.export.minari_dataset import export_minari

    console = Console(stderr=True)
    columns = (TextColumn("exporting"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(found.wanted))
        if form == Format.MINARI:
            datasets = export_minari(found, out, lambda: progress.advance(task))
            return {"datasets": datasets}
        files: list[Path] = []
        writer = export_csv if form == Format.CSV else export_parquet
        for written in writer(found, out, observations=observations):
            files += written
            progress.advance(task)
    return {"files": [str(path) for path in files], "bytes": sum(path.stat().st_size for path in files)}


def _say(report: dict[str, Any]) -> None:
    number = f"{report['episodes']} episode{'s' if report['episodes'] != 1 else ''}, {report['frames']} frames"
    if "files" in report:
        size = f"{len(report['files'])} files, {report['bytes'] / 1e6:.1f} MB"
        say(f"exported {number}: {size} in {report['out']}")
    else:
        say(f"exported {number}: {', '.join(report['datasets'])} in {report['out']}")
        example = f"MINARI_DATASETS_PATH={report['out']} python -c 'import minari; minari.load_dataset(\"{{}}\")'"
        say(f"  {example.format(report['datasets'][0])}")
    if report["left_out"]:
        there = ", ".join(f"{count} {verdict}" for verdict, count in report["left_out"].items())
        say(f"left out: {there} (--verdict adds them)")
