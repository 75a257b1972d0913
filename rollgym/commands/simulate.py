"""``rollgym simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from rollgym.commands.exits import DIFFERENT, refuse
from rollgym.commands.options import (
    Burst,
    Duplicate,
    Jitter,
    Latency,
    Loss,
    NetworkName,
    Npcs,
    Params,
    Prediction,
    Reorder,
    link_from,
)
from rollgym.commands.output import say
from rollgym.processes.own_process import not_to_be_ended

if TYPE_CHECKING:
    from rollgym.client_sim.simulator.scenario import Pause
    from rollgym.games.contract import GameSpec
    from rollgym.running.simulated import Judged, Plan, Played
    from rollgym.server.storage.folder import FolderStore


def simulate(
    config: Annotated[
        str | None,
        typer.Argument(help="An experiment file, or a built-in one by name. Flags replace parts of it."),
    ] = None,
    config_file: Annotated[
        str | None, typer.Option("--config", metavar="CONFIG", help="The same as a flag.", show_default=False)
    ] = None,
    game: Annotated[
        str | None, typer.Option(help="What to play; `rollgym games` lists them.", show_default=False)
    ] = None,
    param: Params = None,
    npc: Npcs = None,
    matches: Annotated[
        int | None, typer.Option(min=1, help="Matches to play.  [default: the file's, or 1]", show_default=False)
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Episodes a match.  [default: the file's, or 1]", show_default=False)
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000_000,
            help="Truncate episodes here.  [default: the file's, or 10 minutes of play]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**31 - 1,
            help="Of the first match and its network.  [default: the file's, or 0]",
            show_default=False,
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.1, max=1000, help="Frames per second.  [default: the file's, or the game's own]", show_default=False
        ),
    ] = None,
    latency: Latency = None,
    jitter: Jitter = None,
    loss: Loss = None,
    duplicate: Duplicate = None,
    reorder: Reorder = None,
    burst: Burst = None,
    network: NetworkName = None,
    prediction: Prediction = None,
    input_delay: Annotated[
        int | None,
        typer.Option(
            min=0, max=120, help="Frames between deciding and acting.  [default: the file's, or 2]", show_default=False
        ),
    ] = None,
    max_prediction: Annotated[
        int | None,
        typer.Option(
            min=0, max=3600, help="Frames that may be predicted.  [default: the file's, or 8]", show_default=False
        ),
    ] = None,
    pause: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLAYER:AT:SECONDS", help="Stop a peer for a while: 0:3.5:2; may be repeated.", show_default=False
        ),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="Bot of all players, or one for each in turn.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The data folder to add the episodes to, as a server does.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Play matches in virtual time: the real peers, a modelled network, no sockets, no waiting.

    The same seed gives the same matches and the same files, byte for byte. What --out holds is a dataset like a
    server's: judged, and fit for load, verify, export, compare and replay. Times may carry a unit (40ms, 0.04s); a
    bare number is milliseconds. Exit code: 0 every episode is verified, 1 some are not, 2 bad usage.

    Example: rollgym simulate --game pong --episodes 2 --latency 40ms --jitter 10ms --loss 2% --out data
    """
    from rollgym.commands.json_output import print_json
    from rollgym.commands.simulate_plan import Flags, read_plan

    if config is not None and config_file is not None:
        raise typer.BadParameter(
            f"{config_file}: there is an experiment file already ({config})", param_hint="--config"
        )
    impaired = (network, latency, jitter, loss, duplicate, reorder, burst)
    link = link_from(*impaired) if any(value is not None for value in impaired) else None
    pauses = [_pause(text) for text in pause or []]
    flags = Flags(
        *(game, param, npc, episodes, frames, seed, fps, input_delay, max_prediction, prediction, policy, link, pauses),
    )
    where = None if out is None else out.absolute()  # the game may change the current folder
    plan, spec = read_plan(config or config_file, flags)
    place = None if out is None or where is None else _Place(_open(where, out), out)
    try:
        with not_to_be_ended():
            report = _play(plan, spec, matches or plan.experiment.matches or 1, place, as_json)
    finally:
        if place is not None:
            place.store.close()
    if as_json:
        print_json(report)
    if any(verdict != "verified" for verdict in report["verdicts"]):
        raise typer.Exit(DIFFERENT)


class _Place(NamedTuple):
    """Where episodes go."""

    store: FolderStore
    said: Path
    """The folder as it was named."""


def _open(where: Path, out: Path) -> FolderStore:
    from rollgym.server.errors import ServerError
    from rollgym.server.storage.folder import FolderStore
    from rollgym.server.storage.record import catalogue_of

    store = FolderStore(where)
    if catalogue_of(where).exists():
        refuse(f"--out {out}: the data folder of a server, whose catalogue would not know these episodes; name another")
    try:
        store.open(0)
    except ServerError as error:
        refuse(str(error).replace(str(where), str(out)))
    return store


def _pause(text: str) -> Pause:
    from rollgym.client_sim.simulator.scenario import Pause

    try:
        player, at, length = text.split(":")
        found = Pause(int(player), float(at), float(length))
        if found.player >= 0 and 0 <= found.at < float("inf") and 0 < found.duration < float("inf"):
            return found
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: expected PLAYER:AT:SECONDS", param_hint="--pause") from error
    raise typer.BadParameter(f"{text!r}: expected PLAYER:AT:SECONDS, none negative", param_hint="--pause")


def _play(plan: Plan, spec: GameSpec, matches: int, place: _Place | None, quiet: bool) -> dict[str, Any]:
    """Play, judge and store every match; what ``--json`` prints. Unless ``quiet`` says it as it goes."""
    import time

    from rollgym.checking.raised import described
    from rollgym.client_sim.simulator.result import SimulationStuck
    from rollgym.running.simulated import judge, play

    peers: list[list[dict[str, Any]]] = []
    report: dict[str, Any] = {"verdicts": [], "exports": [], "matches": [], "failures": []}
    wall, seconds, trace, frames, episodes = 0.0, 0.0, "", 0, 0
    for number in range(matches):
        began = time.perf_counter()
        try:
            played = play(plan, number, spec)
        except SimulationStuck as error:
            typer.echo(f"rollgym: {error}", err=True)
            raise typer.Exit(DIFFERENT) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            typer.echo(f"rollgym: {described(error)}", err=True)
            raise typer.Exit(DIFFERENT) from error
        wall += time.perf_counter() - began
        judged = list(judge(plan, played))
        files = [[] if place is None else _store(place, plan, played, item) for item in judged]
        report["matches"].append(
            {
                "match": played.row.id,
                "seed": played.row.seed,
                "verdicts": [item.verdict for item in judged],
                "details": [item.detail for item in judged],
                "frames": [item.frames for item in judged],
                "trace": played.result.trace,
            }
        )
        report["verdicts"] += [item.verdict for item in judged]
        report["exports"] += [[str(path) for path in group] for group in files] if place is not None else []
        report["failures"] += played.failures()
        if not quiet:
            _say(played, judged, matches)
        frames += sum(item.frames for item in judged)
        episodes += sum(1 for item in judged if item.exports)
        seconds, trace = seconds + played.result.seconds, trace or played.result.trace
        peers.append(_peers(played))
    report = {"episodes": episodes, **_counters(peers), "frames": frames, **report}
    report |= {"experiment": plan.experiment.name, "condition": plan.experiment.condition}
    report |= {"trace": trace, "virtual_seconds": seconds}
    if not quiet:
        _say_totals(report, seconds / wall, None if place is None else place.said)
    return report


def _store(place: _Place, plan: Plan, played: Played, item: Judged) -> list[Path]:
    from rollgym.client_sim.exports.export_files import keep_export
    from rollgym.protocol.files.parquet import EpisodeFileError
    from rollgym.running.simulated import store

    try:
        if item.finding is not None:
            written = store(place.store, plan, played, item)
            return [place.said / path.relative_to(place.store.root) for path in written]
        # Without a verdict it is no part of the dataset: what the peers have of it lies beside.
        said = {"experiment": plan.experiment.name, "condition": plan.experiment.condition}
        kept = [keep_export(export, place.store.root / "exports", said) for export in item.exports]
        return [place.said / path.relative_to(place.store.root) for path in kept]
    except EpisodeFileError as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"{place.said}: cannot be written: {error.strerror or error}")


def _peers(played: Played) -> list[dict[str, Any]]:
    from rollgym.running.totals import totals

    return [
        {
            **totals(export.own.stats for export in player.exports),
            "episodes": len(player.exports),
            "desyncs": len(player.desyncs),
            "packets_sent": player.packets_sent,
            "bytes_sent": player.bytes_sent,
            "ended": player.ended,
        }
        for player in played.result.players
    ]


def _counters(matches: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Counters of all matches: on top those of all peers together, in ``peers`` those of each."""
    from rollgym.running.totals import together, totals

    sums = ("episodes", "desyncs", "packets_sent", "bytes_sent")
    peers = [
        {
            **totals(places),
            **{name: sum(place[name] for place in places) for name in sums},
            "ended": places[-1]["ended"],
        }
        for places in zip(*matches, strict=True)
    ]
    return {**together(peers), **{name: sum(peer[name] for peer in peers) for name in sums[1:]}, "peers": peers}


def _say(played: Played, judged: list[Judged], matches: int) -> None:
    for failure in played.failures():
        typer.echo(f"rollgym: {failure}", err=True)
    for item in judged:
        of = f"match {played.row.number}, " if matches > 1 else ""
        say(f"{of}episode {item.episode}: {item.verdict}" + (f" ({item.detail})" if item.detail else ""))


def _say_totals(report: dict[str, Any], speed: float, out: Path | None) -> None:
    from rollgym.running.simulated import MISSING, UNJUDGED

    say(
        f"{report['frames']} frames at {report['fps']:.1f} a second, {report['rollbacks']} rollbacks "
        f"(deepest {report['rollback_depth_max']}), {report['resimulated_per_frame']:.2f} re-simulated per frame, "
        f"{100 * report['stall_share']:.1f} % of ticks stalled, {report['desyncs']} desyncs"
    )
    say(f"{report['virtual_seconds']:.1f} s of play, {speed:.0f} times faster than real")
    if out is not None:
        for match in report["matches"]:
            if not {UNJUDGED, MISSING}.issuperset(match["verdicts"]):
                say(f"dataset  {out / 'episodes' / match['match']}")
