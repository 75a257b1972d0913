"""``rollgym run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollgym.commands.exits import DIFFERENT, refuse
from rollgym.commands.output import out, say
from rollgym.config.shipped import builtin_configs

if TYPE_CHECKING:
    from rollgym.config.file import ExperimentFile
    from rollgym.running.experiment import Outcome, RunFolder


def run(
    config: Annotated[
        str | None,
        typer.Argument(help="An experiment file, or the name of a built-in one.  [default: pong]", show_default=False),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The dataset folder.  [default: the file's]", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Of the server; 0: any.  [default: the file's]", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Play an experiment on this machine: a server and two peers, real sockets, an impaired network; store the data.

    Built-in experiments: EXPERIMENTS. Ctrl-C ends everything, and keeps what was confirmed.
    Exit code: 0 every episode is verified, 1 some are not, 2 the file or the machine is not fit to start.

    Example: rollgym run config/overcooked.yaml
    """
    from rich.console import Console

    from rollgym.commands.json_output import print_json
    from rollgym.config.problems import ConfigError
    from rollgym.config.reading import find_config, read_config
    from rollgym.protocol.files.parquet import EpisodeFileError
    from rollgym.running.event_loop import run_loop
    from rollgym.running.experiment import StartError, make_run_folder, run_experiment
    from rollgym.running.progress import ProgressDisplay

    try:
        path = find_config(config)
        file, game = read_config(path)
    except ConfigError as error:
        refuse(str(error))
    place = data or file.server.data
    try:
        folder = make_run_folder(place, file.experiment.name, path)
    except OSError as error:
        refuse(f"data folder {place}: cannot be written: {error.strerror or error}")
    overrides = ["--data", str(place), *(["--port", str(port)] if port is not None else [])]
    console = Console(stderr=True) if as_json else Console(file=out())
    if not as_json:
        _announce(console, file, path)
    with ProgressDisplay(console, game.players, file.experiment.play.episodes) as progress:
        try:
            outcome = run_loop(run_experiment(file, game.players, folder, overrides, progress.hear))
        except StartError as error:
            refuse(str(error))
    try:
        outcome.read_verdicts(place)
    except EpisodeFileError as error:
        outcome.failures.append(str(error))
    if as_json:
        print_json(_report(outcome, file, game.fps, place, folder))
    else:
        _summary(outcome, file, game.fps, place, folder)
    if not outcome.verified:
        raise typer.Exit(DIFFERENT)


run.__doc__ = (run.__doc__ or "").replace("EXPERIMENTS", ", ".join(builtin_configs()))


def _announce(console: Any, file: ExperimentFile, path: Path) -> None:
    experiment = file.experiment
    network = file.network.name or ", ".join(f"{k} {v:g}" for k, v in file.network.link().forward.describe().items())
    console.print(
        f"{path}: {experiment.play.episodes} episodes of {experiment.game.id}, network: {network or 'perfect'}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _report(outcome: Outcome, file: ExperimentFile, fps: float, data: Path, folder: RunFolder) -> dict[str, Any]:
    from rollgym.running.uploads import waiting_in

    frames = outcome.frames()
    return {
        "experiment": file.experiment.name,
        "condition": file.experiment.condition,
        "match": outcome.match,
        "verified": outcome.verified,
        "interrupted": outcome.interrupted,
        "episodes": [
            {
                "episode": number,
                "frames": frames.get(number, 0),
                "verdict": outcome.verdicts.get(number),
                "detail": outcome.details.get(number, ""),
            }
            for number in range(outcome.wanted)
        ],
        **outcome.statistics(),
        "frame_seconds": 1 / file.experiment.play.settings(fps).fps,
        "waiting": waiting_in(folder.spool),
        "failures": outcome.failures,
        "wall_seconds": outcome.seconds,
        "data": str(data),
        "dataset": str(data / "episodes" / outcome.match) if outcome.match else None,
        "exports": outcome.exports(),
        "logs": str(folder.logs),
    }


def _summary(outcome: Outcome, file: ExperimentFile, fps: float, data: Path, folder: RunFolder) -> None:
    from rollgym.commands.invocation import command_line
    from rollgym.games.registry import is_built_in

    report = _report(outcome, file, fps, data, folder)
    each = " + ".join(str(peer["rollbacks"]) for peer in report["peers"]) or "-"
    say("")
    for episode in report["episodes"]:
        # A peer without a last word may have played what nobody knows of.
        begun = episode["frames"] or (outcome.match is not None and None in outcome.peers)
        verdict = episode["verdict"] or ("not judged" if begun else "not played")
        say(
            f"episode {episode['episode'] + 1}   {episode['frames']:6} frames   {verdict}  {episode['detail']}".rstrip()
        )
    rows = {
        "frames": f"{report['confirmed_frames']} at {report['fps']:.1f} a second",
        "rollbacks": f"{report['rollbacks']} ({each}), deepest {report['rollback_depth_max']}, "
        f"{report['resimulated_per_frame']:.2f} frames simulated again per frame",
        "stalls": f"{report['stalls']} ({100 * report['stall_share']:.1f} % of the ticks)",
        "tick": _tick(report),
        "dataset": report["dataset"] or "-",
        "exports": str(Path(report["exports"][0][0]).parent) if report["exports"] else "-",
        "logs": report["logs"],
    }
    for name, value in rows.items():
        say(f"{name:10} {value}")
    for failure in outcome.failures:
        say(f"{'problem':10} {failure}")
    pairs = [group for group in report["exports"] if len(group) > 1]
    if report["waiting"]:
        say(f"{'left':10} {report['waiting']} exports that the server has not acknowledged, in {folder.spool}")
    say("\nnext:")
    if pairs:
        say(f"  {command_line('compare', *pairs[0][:2])}")
    game = file.experiment.game.id
    trust = () if is_built_in(game) else ("--game", game)
    say(f"  {command_line('verify', str(data), *trust)}")
    if pairs:
        say(f"  {command_line('replay', pairs[0][0], *trust)}")
    if report["waiting"]:
        port = file.server.port or 8000
        serve = command_line("serve", str(folder.config), "--data", str(data), "--port", str(port))
        bring = ["--url", f"http://127.0.0.1:{port}", "--spool", str(folder.spool), "--upload-only"]
        say("to bring in what is left, in two terminals:")
        say(f"  {serve}\n  {command_line('play', *bring)}")


def _tick(report: dict[str, Any]) -> str:
    """How much of a frame's time its work takes, and whose work that is."""
    work, frame, share = report["work_per_frame"], report["frame_seconds"], report["engine_share"]
    if work is None or share is None:
        return "unknown"
    part = f"{1000 * work:.1f} ms of the {1000 * frame:.1f} ms of a frame ({100 * work / frame:.0f} %)"
    return f"{part}; engine {100 * share:.0f} % of it, game and bot the rest"
