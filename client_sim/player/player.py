"""A bot's player process: the peer, the game and the bot, in a main thread of their own.

There is no event loop here, no socket but the one to the client, and nobody who would mind how long the game takes: the
client (:mod:`rollgym.client_sim.client.match`) keeps all connections served. An environment finds what it finds in an
ordinary program: the main thread, ``asyncio.run``, signals. What it prints is the client's to log.

Exports are on the disk before anybody, partner or client, hears of them. If the client dies, the match is stopped here
and what is canonical is spooled; the next client that uses the spool uploads it.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import sysconfig
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rollgym.client_sim.exports.export_files import keep_export
from rollgym.client_sim.exports.spool import Spool
from rollgym.client_sim.peer.events import EpisodeStarted, PeerEvent
from rollgym.client_sim.peer.input_source import PolicyInputs
from rollgym.client_sim.peer.peer import Peer
from rollgym.client_sim.peer.prediction_rules import find_rule, rule_origin
from rollgym.client_sim.player.driver import Driver, drive
from rollgym.client_sim.player.messages import (
    Begin,
    Ended,
    Exported,
    Failure,
    Happened,
    InMatch,
    Kept,
    NotKept,
    Outgoing,
    Prepare,
    Ready,
    Stats,
    ToClient,
    ToPlayer,
    keep_alive,
    pack,
    parse_to_player,
)
from rollgym.client_sim.player.software import software
from rollgym.client_sim.player.timing import Interrupted, Stopwatch, TimedGame, TimedPolicy, timed_rule
from rollgym.games.code_names import is_code_name
from rollgym.games.contract import Game
from rollgym.games.errors import GameError
from rollgym.games.identity import identity
from rollgym.games.policies.catalogue import located, make_policy, policy_origin, policy_parameters
from rollgym.games.policy import Policy
from rollgym.games.registry import make
from rollgym.processes.channel import Channel, ChannelClosed
from rollgym.processes.own_process import not_to_be_ended
from rollgym.protocol.addresses import resolved
from rollgym.protocol.episode.export import Export
from rollgym.protocol.files.parquet import EpisodeFileError

NOT_TO_BLAME = ("rollgym", "importlib")
"""Packages whose lines tell nobody where a game went wrong."""

STDLIB = sysconfig.get_path("stdlib")


def main(channel: Channel) -> None:
    """What the process does, until the client hangs up."""
    line = ClientLine(channel)
    plan = line.wait()
    assert isinstance(plan, Prepare), plan
    watch = Stopwatch()
    _let_calls_be_interrupted(watch)
    with not_to_be_ended():
        try:
            player = Player(line, plan, watch)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the user's own code may raise anything
            line.send(_failure(error))
            return
        player.run()


class ClientLine:
    """The line to the client."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def wait(self) -> ToPlayer:
        """The next message. Raises ``ChannelClosed``."""
        message = self._channel.receive()
        assert message is not None
        return parse_to_player(message)

    def receive(self, timeout: float) -> InMatch | None:
        """The next message in a match; None if none came within ``timeout`` seconds. Raises ``ChannelClosed``."""
        # A wait without end cannot be had from a timeout of a million years.
        message = self._channel.receive(min(timeout, 3600.0))
        if message is None:
            return None
        parsed = parse_to_player(message)
        assert isinstance(parsed, InMatch), parsed
        return parsed

    def send(self, message: ToClient) -> None:
        """Raises ``ChannelClosed``."""
        self._channel.send(pack(message))


class Player:
    """One bot, for one match after the other. Raises what the game raises in its constructor, and ``GameError``."""

    def __init__(self, line: ClientLine, plan: Prepare, watch: Stopwatch) -> None:
        self._line = line
        self._plan = plan
        self._watch = watch
        self._spool = Spool(Path(plan.spool))
        self._keep = None if plan.keep is None else Path(plan.keep)
        self._started_in = Path.cwd()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._to_keep: list[Export] = []
        self._next_stats = math.inf
        self._game: Game = watch.run(make, plan.game, plan.parameters)
        named = is_code_name(plan.policy)
        parameters = plan.policy_parameters if named else policy_parameters(plan.policy, plan.policy_parameters)
        self._policy_info = {
            "name": plan.policy,
            "parameters": parameters,
            "seed": plan.policy_seed,
            **watch.run(policy_origin, plan.policy, self._policy_arguments()),
            "network": plan.network,
        }
        self._predictor = timed_rule(watch.run(find_rule, plan.prediction), watch)
        self._policy_info |= watch.run(rule_origin, plan.prediction)
        if not named:
            self._make_policy(0)  # whether it can play this game at all: said before anybody joins
        line.send(Ready(identity(self._game.spec)))

    def run(self) -> None:
        """Play what the client wants played, until it hangs up."""
        try:
            while True:
                message = self._line.wait()
                if isinstance(message, Begin):
                    self._play(message)
        except ChannelClosed:
            self._game.close()

    def _play(self, begin: Begin) -> None:
        failure = None
        self._watch.seconds = 0.0
        driver: Driver | None = None
        try:
            driver = playing = self._driver(begin)
            self._next_stats = math.inf  # until there is something to report of

            def between() -> None:
                self._keep_copies()
                if time.monotonic() >= self._next_stats and begin.progress_every is not None:
                    self._next_stats = time.monotonic() + begin.progress_every
                    self._line.send(Stats(self._stats(playing)))

            drive(playing, self._line, between=between, quiet=2 * keep_alive(begin.start.settings))
        except ChannelClosed:
            if driver is not None:
                driver.stop()
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the user's own code may raise anything
            failure = _failure(error)
        self._keep_copies()
        self._line.send(Ended({} if driver is None else self._stats(driver), failure))

    def _driver(self, begin: Begin) -> Driver:
        start = begin.start
        policy = TimedPolicy(self._make_policy(start.player), self._watch)
        peer = Peer(
            start,
            TimedGame(self._game, self._watch),
            PolicyInputs(policy, self._game.spec.input_codecs[start.player]),
            policy_info=self._policy_info,
            software=software(),
            now=time.monotonic(),
            wall=time.time(),
            predictor=self._predictor,
        )
        place = resolved(begin.url, start.upload)

        def store(export: Export) -> None:
            upload = place.replace("{episode}", str(export.header.episode))
            with self._our_umask():
                spooled = self._spool.take(export, upload, start.ticket)
            if self._keep is not None:
                self._to_keep.append(export)
            self._line.send(Exported.of(spooled))

        def on_event(event: PeerEvent) -> None:
            if isinstance(event, EpisodeStarted) and event.episode == 0 and begin.progress_every is not None:
                self._next_stats = time.monotonic() + begin.progress_every
            self._line.send(Happened.of(event))

        return Driver(
            peer,
            send=lambda player, packet: self._line.send(Outgoing(player, packet)),
            on_export=store,
            on_event=on_event,
        )

    def _stats(self, driver: Driver) -> dict[str, Any]:
        stats = driver.stats()
        return {**stats, "runtime": {**stats["runtime"], "game_and_bot": self._watch.seconds}}

    def _make_policy(self, player: int) -> Policy:
        plan = self._plan
        arguments = self._policy_arguments()

        def made() -> Policy:
            return make_policy(plan.policy, self._game.spec, player, plan.policy_seed, **arguments)

        return self._watch.run(made)

    def _policy_arguments(self) -> dict[str, Any]:
        return located(self._plan.policy, self._plan.policy_parameters, self._started_in)

    @contextlib.contextmanager
    def _our_umask(self) -> Iterator[None]:
        """Files that we write have the modes that the command was started with, whatever the game has set."""
        games = os.umask(self._umask)
        try:
            yield
        finally:
            os.umask(games)

    def _keep_copies(self) -> None:
        exports, self._to_keep = self._to_keep, []
        for export in exports:
            assert self._keep is not None
            try:
                with self._our_umask():
                    path = keep_export(export, self._keep, self._plan.keep_said)
                self._line.send(Kept(str(path)))
            except (OSError, EpisodeFileError) as error:
                self._line.send(NotKept(str(error)))


def _let_calls_be_interrupted(watch: Stopwatch) -> None:
    """SIGINT is what the client sends when a match has to end and the game is still at work."""

    def interrupt(*_: object) -> None:
        if watch.inside:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def _failure(error: BaseException) -> Failure:
    traceback.print_exception(error, file=sys.stderr)
    sys.stderr.flush()
    return failure_of(error)


def failure_of(error: BaseException) -> Failure:
    """An exception in one line, with the innermost line of the user's own code that led to it."""
    places: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        for frame, line in traceback.walk_tb(cause.__traceback__):
            if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in NOT_TO_BLAME:
                places.append(f"{frame.f_code.co_filename}:{line}")
        cause = cause.__cause__
    if isinstance(error, GameError):  # its text was written for people
        return Failure(str(error), "")
    own = [place for place in places if "site-packages" not in place and not place.startswith(STDLIB)]
    if isinstance(error, Interrupted):
        return Failure(str(error), (own or places or [""])[-1], interrupted=True)
    return Failure("".join(traceback.format_exception_only(error)).strip(), (own or places or [""])[-1])
