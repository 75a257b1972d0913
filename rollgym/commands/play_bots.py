"""What ``rollgym play`` does once it knows what is wanted: bots in a terminal, or one peer of ``rollgym run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from rollgym.client_sim.client.client import BotPlayer
from rollgym.client_sim.exports.spool import SpoolError
from rollgym.client_sim.network_model import Link
from rollgym.client_sim.peer.prediction_rules import check_name
from rollgym.commands.exits import DIFFERENT, UNUSABLE, refuse
from rollgym.commands.invocation import command_line
from rollgym.commands.json_output import print_json
from rollgym.commands.output import say
from rollgym.config.problems import ConfigError
from rollgym.config.reading import parse_config
from rollgym.games.errors import GameError
from rollgym.games.registry import default_policy, is_built_in
from rollgym.running.bots import (
    BotEvent,
    Client,
    Finished,
    ServerUnknownError,
    describe,
    game_of_server,
    run_clients,
    summary_of,
)
from rollgym.running.event_loop import run_loop
from rollgym.running.parent_watch import emit, end_with_parent, line_from_parent
from rollgym.running.totals import totals
from rollgym.running.uploads import remove_empty, waiting_in


class Fleet(NamedTuple):
    """The options of ``rollgym play``."""

    url: str
    bots: int
    policy: str | None
    seed: int
    game: str | None
    parameters: dict[str, Any]
    network: Link
    wait: float | None
    """Seconds for a partner, or a server that is gone; None: for ever."""
    reconnect: bool
    prediction: str
    keep: Path | None
    spool: Path


def play_bots(fleet: Fleet, as_json: bool) -> None:
    """Let them play, say how it goes, and end with the exit code."""
    screen = _Screen(fleet, as_json)
    fresh = not fleet.spool.exists()
    try:
        results = run_loop(
            run_clients(
                fleet.url,
                _clients(fleet),
                network=fleet.network,
                spool=fleet.spool,
                keep=fleet.keep,
                said={},
                on_event=screen.hear,
                wait=fleet.wait,
                reconnect=fleet.reconnect,
            )
        )
    except (GameError, OSError, ServerUnknownError, SpoolError) as error:
        refuse(str(error))
    finally:
        if fresh:
            remove_empty(fleet.spool)
    if as_json:
        print_json([summary_of(result) for result in results])
    screen.sum_up(results)
    if all(result.error is not None for result in results):
        raise typer.Exit(UNUSABLE)
    if not all(_good(result) for result in results):
        raise typer.Exit(DIFFERENT)


def play_as_child(config: Path, seat: int, *, spool: Path, keep: Path | None) -> None:
    """Play one seat of an experiment for ``rollgym run``, which has checked the file, and tell it everything."""

    async def url() -> str:
        told = await line_from_parent()
        end_with_parent()
        return told

    try:
        file = parse_config(config)
        bot = file.bot(seat)
        game = file.experiment.game
        assert bot.policy is not None
        player = BotPlayer(game.id, bot.policy, game.all_parameters(), bot.parameters, bot.seed or 0, file.prediction)
        (result,) = run_loop(
            run_clients(
                url,
                [Client(f"bot-{seat}", player, (file.experiment.seed or 0) * 1000 + seat)],
                network=file.network.link(),
                spool=spool,
                keep=keep,
                said={"experiment": file.experiment.name, "condition": file.experiment.condition},
                on_event=lambda _, event: _tell(event),
            )
        )
    except (ConfigError, GameError, OSError, SpoolError) as error:
        emit("failed", message=str(error))
        raise typer.Exit(UNUSABLE) from error
    if result.error is not None:
        emit("failed", message=str(result.error))
        raise typer.Exit(UNUSABLE)
    emit("finished", **summary_of(result))
    if not _good(result):
        raise typer.Exit(DIFFERENT)


def _tell(event: BotEvent) -> None:
    name, fields = describe(event)
    emit(name, **fields)


def _clients(fleet: Fleet) -> list[Client]:
    """Raises :class:`GameError`, :class:`ServerUnknownError`."""
    check_name(fleet.prediction)
    game, found = game_of_server(fleet.url, fleet.wait if fleet.reconnect else 0.0)
    if fleet.game is None and not is_built_in(game):
        expected = "a built-in game: code that it names is imported only if --game names it as well"
        raise GameError("the server's game", game, expected)
    # Of another game than the server's, its parameters make no sense; the server will say what it plays.
    parameters = {**(found if fleet.game in (None, game) else {}), **fleet.parameters}
    name = fleet.game or game
    policy = fleet.policy or default_policy(name)
    seeds = range(fleet.seed, fleet.seed + fleet.bots)
    bots = [BotPlayer(name, policy, parameters, seed=seed, prediction=fleet.prediction) for seed in seeds]
    return [Client(None, bot, bot.seed) for bot in bots]


def _good(finished: Finished) -> bool:
    """Every episode that the match was to have is verified."""
    result = finished.result
    verdicts = [verdict.verdict for verdict in result.verdicts.values()]
    return finished.failure is None and result.wanted > 0 and verdicts == ["verified"] * result.wanted


_LINES = {
    "joined": "joined as {participant}",
    "paired": "playing match {match} as player {player}",
    "episode_ended": "episode {episode}: {status} after {frames} frames",
    "desync_found": "states differ at frame {frame} of episode {episode}",
    "verdict": "episode {episode}: {verdict} {detail}",
    "refused": "the server refuses episode {episode}: {reason}",
    "control_lost": "lost the server: {reason}",
    "match_ended": "match ended: {reason}",
    "returning": "lost the server: {reason}; coming back when it is there again",
}


class _Screen:
    """What a person sees."""

    def __init__(self, fleet: Fleet, quiet: bool) -> None:
        self._fleet = fleet
        self._quiet = quiet
        self._over: set[int] = set()
        self._waiting: tuple[int, int] | None = None

    def hear(self, index: int, event: BotEvent) -> None:
        """An event of a bot."""
        name, fields = describe(event)
        if name == "match_over":
            self._over.add(index)
        elif name == "paired":
            self._over.discard(index)
        if self._quiet or (name == "control_lost" and index in self._over):  # the server may end with its last match
            return
        if name in _LINES:
            say(f"bot {index}: {_LINES[name].format(**fields).rstrip()}")
        if name == "waiting":
            self._show_waiting(fields["waiting"], fields["needed"])

    def _show_waiting(self, waiting: int, needed: int) -> None:
        """How many wait, once for all bots."""
        if (waiting, needed) == self._waiting or waiting == 0:
            return
        self._waiting = (waiting, needed)
        until = f"gives up after {self._fleet.wait:g} s (--wait)" if self._fleet.wait is not None else "for ever"
        say(f"waiting for a partner: {waiting} of {needed} players are here; {until}")

    def sum_up(self, results: Sequence[Finished]) -> None:
        """What was played, what failed and why, and what to do about it."""
        said: set[str] = set()
        for index, finished in enumerate(results):
            if finished.result.episodes and not self._quiet:
                say(f"bot {index}: {_played(finished)}")
            if finished.failure is not None and finished.failure not in said:
                said.add(finished.failure)
                same = [n for n, other in enumerate(results) if other.failure == finished.failure]
                who = f"bot {index}" if len(same) == 1 else f"{len(same)} bots"
                for line in f"{who}: {finished.failure}".splitlines():
                    typer.echo(f"rollgym: {line}", err=True)
        waiting = waiting_in(self._fleet.spool)
        if waiting:
            bring = command_line("play", "--url", self._fleet.url, "--spool", str(self._fleet.spool), "--upload-only")
            where = f"{waiting} exports wait in {self._fleet.spool}"
            typer.echo(f"rollgym: {where}; to bring them to the server when it is there:\n  {bring}", err=True)


def _played(finished: Finished) -> str:
    """Frames, speed, round trip, rollbacks and stalls of one bot's match in a line."""
    found = totals(episode.stats for episode in finished.result.episodes)
    rtt = finished.result.stats.get("peer", {}).get("rtt")
    known = isinstance(rtt, float) and rtt == rtt
    return ", ".join(
        (
            f"{found['confirmed_frames']} frames at {found['fps']:.1f} a second",
            f"round trip {1000 * rtt:.0f} ms" if known else "round trip unknown",
            f"{found['rollbacks']} rollbacks, deepest {found['rollback_depth_max']}",
            f"{found['stalls']} stalls",
        )
    )
