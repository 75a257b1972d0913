"""Fast-forward as it ships: the real peers with their drivers, over an impaired transport, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rollgym.client_sim.network_model import Link, NetworkConditions
from rollgym.client_sim.peer.input_source import PolicyInputs
from rollgym.client_sim.peer.peer import Peer
from rollgym.client_sim.transport.impaired import ImpairedTransport
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.messages import ONLY_RELAY, MatchStart, PlaySettings
from tests.client.driven import Driven
from tests.client.fakes import Hub
from tests.client.virtual import advance, clock, run
from tests.record.match import assert_equal, own
from tests.record.probe import GameLog, Probe, Restless

LINK = Link.both(NetworkConditions(latency=0.06, jitter=0.01, loss=0.05))


class Frozen(Peer):
    """A peer whose process is not scheduled from ``frozen[0]`` to ``frozen[1]``: nothing is read, nothing is played."""

    frozen = (float("inf"), float("inf"))

    def _away(self, now: float) -> bool:
        return self.frozen[0] <= now < self.frozen[1]

    def receive(self, source: int, data: bytes, now: float) -> None:
        if self._away(now):
            asyncio.get_running_loop().call_later(self.frozen[1] - now, self.receive, source, data, self.frozen[1])
        else:
            super().receive(source, data, now)

    def poll(self, now: float) -> list[tuple[int, bytes]]:
        return [] if self._away(now) else super().poll(now)

    def next_wakeup(self, now: float) -> float:
        return self.frozen[1] if self._away(now) else super().next_wakeup(now)


class Side:
    """One player's peer and driver; made inside of the virtual loop."""

    def __init__(self, hub: Hub, player: int, settings: PlaySettings) -> None:
        self.log = GameLog(clock)
        self.exports: list[Export] = []
        self.events: list[Any] = []
        start = MatchStart("m", player, ("a", "b"), 3, settings, "ticket", ONLY_RELAY, "upload/{episode}")
        game = Probe(log=self.log)
        inputs = PolicyInputs(Restless(player), game.spec.input_codecs[player])
        self.peer = Frozen(start, game, inputs, policy_info={}, software={}, now=clock(), wall=clock())
        wire = ImpairedTransport(hub.transport(player), LINK, player=player, players=2, seed=5, clock=clock)
        self.driven = Driven(self.peer, wire, on_export=self.exports.append, on_event=self.events.append)


def both(settings: PlaySettings, disturb: Callable[[list[Side]], None]) -> list[Side]:
    async def main() -> list[Side]:
        hub = Hub(clock)
        sides = [Side(hub, player, settings) for player in (0, 1)]
        disturb(sides)
        await asyncio.gather(*[side.driven.run() for side in sides])
        return sides

    return run(main())


def assert_whole(sides: list[Side], frames: int, episodes: int) -> None:
    for side in sides:
        assert [export.header.status for export in side.exports] == ["complete"] * episodes
        assert all(export.header.frames == frames and export.own.rollbacks for export in side.exports)
        for export in side.exports:
            check_export(export)
    for first, second in zip(sides[0].exports, sides[1].exports, strict=True):
        assert_equal(first, second)
        assert any(own(first, "was_speculative"))


@pytest.mark.parametrize("window", [8, 600])
@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_edge_01_one_process_is_stopped_for_a_while(window: int, seconds: float) -> None:
    def freeze(sides: list[Side]) -> None:
        sides[0].peer.frozen = (clock() + 1.5, clock() + 1.5 + seconds)

    frames = 200 if window == 8 else 500
    sides = both(PlaySettings(episodes=2, frame_limit=frames, max_prediction=window), freeze)
    assert_whole(sides, frames, 2)
    stopped = sides[0].peer.frozen
    assert not any(stopped[0] < step.time < stopped[1] for step in sides[0].log.steps)
    if window == 600:
        deepest = max(event.depth for event in sides[1].exports[0].own.rollbacks)
        assert deepest > 50 * seconds
        at_once = sum(1 for step in sides[0].log.steps if stopped[1] <= step.time < stopped[1] + 0.2)
        assert at_once > 50 * seconds, "it caught up without waiting for its clock"


def test_edge_01_the_whole_machine_is_stopped_for_longer_than_the_time_out() -> None:
    def sleep(sides: list[Side]) -> None:
        asyncio.get_running_loop().call_later(1.5, advance, 30.0)

    sides = both(PlaySettings(episodes=2, frame_limit=200, disconnect_timeout=5.0), sleep)
    assert_whole(sides, 200, 2)
