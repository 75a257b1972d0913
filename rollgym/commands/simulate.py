"""``rollgym simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    Reorder,
    link_from,
    parameters_from,
)
from rollgym.commands.output import say

if TYPE_CHECKING:
    from rollgym.client_sim.simulator import Pause, Scenario, SimulationResult

MINUTES = 10
"""Minutes of play after which an episode is truncated if ``--frames`` says nothing: some games never end."""


def simulate(
    game: Annotated[str, typer.Option(help="What to play; `rollgym games` lists them.", show_default=False)],
    param: Params = None,
    npc: Npcs = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 1,
    frames: Annotated[
        int | None, typer.Option(min=1, help=f"Truncate episodes here.  [default: {MINUTES} minutes of play]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the match and of the network.")] = 0,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=1000, help="Frames per second.  [default: the game's own]")
    ] = None,
    latency: Latency = None,
    jitter: Jitter = None,
    loss: Loss = None,
    duplicate: Duplicate = None,
    reorder: Reorder = None,
    burst: Burst = None,
    network: NetworkName = None,
    input_delay: Annotated[int, typer.Option(min=0, max=120, help="Frames between deciding and acting.")] = 2,
    max_prediction: Annotated[int, typer.Option(min=0, max=3600, help="Frames that may be predicted.")] = 8,
    pause: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLAYER:AT:SECONDS", help="Stop a peer for a while: 0:3.5:2; may be repeated.", show_default=False
        ),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="Bot of all players, or one for each in turn.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write every peer's exports there.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Play a match in virtual time: the real peers, a modelled network, no sockets, no waiting.

    The same seed gives the same match and the same files, byte for byte. Times may carry a unit (40ms, 0.04s); a
    bare number is milliseconds. Exit code: 0 every episode is verified, 1 some are not, 2 bad usage.

    Example: rollgym simulate --game pong --episodes 2 --latency 40ms --jitter 10ms --loss 2% --out exports
    """
    import time

    from rollgym.client_sim.simulator import SimulationStuck
    from rollgym.client_sim.simulator import simulate as play
    from rollgym.commands.json_output import print_json
    from rollgym.games.errors import GameError

    link = link_from(network, latency, jitter, loss, duplicate, reorder, burst)
    pauses = [_pause(text) for text in pause or []]
    try:
        scenario = _scenario(game, parameters_from(param, npc), policy or [])
        scenario = _with_settings(scenario, episodes, frames, seed, fps, input_delay, max_prediction)
    except GameError as error:
        refuse(str(error))
    players = len(scenario.policies)
    for item in pauses:
        if item.player >= players:
            raise typer.BadParameter(f"player {item.player}: expected 0..{players - 1}", param_hint="--pause")
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            refuse(f"{out}: can not be written: {error.strerror or error}")
    from dataclasses import replace

    began = time.perf_counter()
    try:
        result = play(replace(scenario, link=link, pauses=pauses))
    except SimulationStuck as error:
        typer.echo(f"rollgym: {error}", err=True)
        raise typer.Exit(DIFFERENT) from error
    wall = time.perf_counter() - began
    report = _report(result, scenario, out)
    if as_json:
        print_json(report)
    else:
        _print(report, result.seconds / wall)
    if any(verdict != "verified" for verdict in report["verdicts"]):
        raise typer.Exit(DIFFERENT)


def _scenario(game_id: str, parameters: dict[str, Any], policies: list[str]) -> Scenario:
    from rollgym.client_sim.simulator import Scenario
    from rollgym.config import default_policy
    from rollgym.games.contract import Game
    from rollgym.games.policies import Policy, make_policy
    from rollgym.games.registry import make
    from rollgym.protocol.messages import PlaySettings

    def policy_of(name: str) -> Any:
        def build(game: Game, player: int) -> Policy:
            return make_policy(name, game.spec, player, player + 1)

        return build

    first = make(game_id, parameters)
    spec = first.spec
    first.close()
    names = policies or [default_policy(game_id)]
    if len(names) not in (1, spec.players):
        raise typer.BadParameter(f"{len(names)} policies: expected 1 or {spec.players}", param_hint="--policy")
    names = names * spec.players if len(names) == 1 else names
    for player, name in enumerate(names):
        make_policy(name, spec, player, 1)  # refused here, before anything is played
    return Scenario(
        settings=PlaySettings(fps=float(spec.fps)),
        game=lambda: make(game_id, parameters),
        policies=[policy_of(name) for name in names],
    )


def _with_settings(
    scenario: Scenario,
    episodes: int,
    frames: int | None,
    seed: int,
    fps: float | None,
    input_delay: int,
    max_prediction: int,
) -> Scenario:
    from dataclasses import replace

    import msgspec

    rate = scenario.settings.fps if fps is None else fps
    settings = msgspec.structs.replace(
        scenario.settings,
        episodes=episodes,
        fps=rate,
        frame_limit=frames if frames is not None else max(1, round(60 * MINUTES * rate)),
        input_delay=input_delay,
        max_prediction=max_prediction,
    )
    return replace(scenario, settings=settings, seed=seed)


def _pause(text: str) -> Pause:
    from rollgym.client_sim.simulator import Pause

    try:
        player, at, length = text.split(":")
        found = Pause(int(player), float(at), float(length))
        if found.player >= 0 and 0 <= found.at < float("inf") and 0 < found.duration < float("inf"):
            return found
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: expected PLAYER:AT:SECONDS", param_hint="--pause") from error
    raise typer.BadParameter(f"{text!r}: expected PLAYER:AT:SECONDS, none negative", param_hint="--pause")


def _report(result: SimulationResult, scenario: Scenario, out: Path | None) -> dict[str, Any]:
    """What ``--json`` prints. ``peers`` has the counters of each peer; those on top are of both together."""
    from rollgym.exports import write_export
    from rollgym.server.judge import find
    from rollgym.totals import together, totals

    players = result.players
    exports = [
        [e for p in players for e in p.exports if e.header.episode == n] for n in range(scenario.settings.episodes)
    ]
    judge = scenario.game()
    verdicts = [find(group, len(players), judge).verdict if group else "missing" for group in exports]
    judge.close()
    written = [[str(write_export(out, export)) for export in group] for group in exports] if out is not None else []
    peers = [
        {
            **totals(export.own.stats for export in player.exports),
            "episodes": len(player.exports),
            "desyncs": len(player.desyncs),
            "packets_sent": player.packets_sent,
            "bytes_sent": player.bytes_sent,
            "ended": player.ended,
        }
        for player in players
    ]
    return {
        "episodes": sum(1 for group in exports if group),
        **together(peers),
        "desyncs": sum(peer["desyncs"] for peer in peers),
        "packets_sent": sum(peer["packets_sent"] for peer in peers),
        "bytes_sent": sum(peer["bytes_sent"] for peer in peers),
        "verdicts": verdicts,
        "exports": written,
        "peers": peers,
        "trace": result.trace,
        "virtual_seconds": result.seconds,
    }


def _print(report: dict[str, Any], speed: float) -> None:
    for number, verdict in enumerate(report["verdicts"]):
        say(f"episode {number}: {verdict}")
    say(
        f"{report['frames']} frames at {report['fps']:.1f} a second, {report['rollbacks']} rollbacks "
        f"(deepest {report['rollback_depth_max']}), {report['resimulated_per_frame']:.2f} re-simulated per frame, "
        f"{100 * report['stall_share']:.1f} % of ticks stalled, {report['desyncs']} desyncs"
    )
    say(f"{report['virtual_seconds']:.1f} s of play, {speed:.0f} times faster than real")
    for group in report["exports"]:
        say("  ".join(group))
