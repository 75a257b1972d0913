"""Matches in virtual time: no sockets, no files, a catalogue that agrees to everything, and clients that are names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from rollgym.games.builtin.drift.rules import Drift
from rollgym.games.identity import identity
from rollgym.protocol.messages import MatchOver, PeerLeft, PlaySettings
from rollgym.protocol.packets import BYE_REASONS, Bye, End, EndAck, Hello, Input, Packet, encode
from rollgym.server.events.counting import counting
from rollgym.server.events.stream import EventStream
from rollgym.server.lobby.queue import Group, Lobby
from rollgym.server.metrics import Metrics
from rollgym.server.play.experiment import Player, RunningExperiment
from rollgym.server.play.match import Match
from rollgym.server.play.matches import Matches
from rollgym.server.play.relay import Relay
from rollgym.server.play.series import Series
from rollgym.server.settings import Experiment
from rollgym.server.storage.rows import SeriesProgress

FRAMES = 1000
LOOK = 0.1


class Agreeable:
    """Stands for the catalogue, and for whatever else is only told of things."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*arguments: Any) -> Any:
            self.calls.append((name, arguments))
            return []

        return call


class World:
    """One match of ``players`` clients, which are called ``c0``, ``c1`` ..."""

    def __init__(self, play: PlaySettings, *, players: int = 2, grace: float = 0.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.metrics = Metrics()
        self.events = EventStream(self.loop.time)
        self.events.subscribe(counting(self.metrics))
        self.catalogue = Agreeable()
        self.relay = Relay(self.metrics, packets_per_second=1e9, buffer_bytes=2048, clock=self.loop.time)
        self.heard: dict[str, list[Struct]] = {f"c{n}": [] for n in range(players)}
        self.names = tuple(self.heard)
        self.lobby = Lobby(players, 100)
        catalogue: Any = self.catalogue
        other: Any = Agreeable()
        self.experiment = RunningExperiment(
            Experiment(upload_grace=grace, seed=5),
            identity(Drift().spec),
            play,
            Series(SeriesProgress(0, 0, 0, ()), None),
            FRAMES,
        )
        self.matches = Matches(
            [self.experiment],
            episode_frames=FRAMES,
            catalogue=catalogue,
            judging=other,
            relay=self.relay,
            events=self.events,
            tell=self._tell,
            clock=self.loop.time,
        )
        self.matches.hall.released = self._released
        self.matches.hall.annulled = self._annulled
        self.match: Match

    def _released(self, client: str, group: object) -> None:
        assert isinstance(group, Group)
        self.lobby.release(client, group)

    def _annulled(self, group: object) -> None:
        assert isinstance(group, Group)
        self.lobby.dissolve(group)

    async def _tell(self, client: str, message: Struct) -> None:
        self.heard[client].append(message)

    async def begin(self, *, relays: tuple[int, ...] | None = None) -> None:
        """Pair the clients; those of ``relays`` open theirs (None: all)."""
        for name in self.names:
            self.lobby.join(name)
        group = self.lobby.pair()
        assert group is not None
        self.match, tickets = await self.matches.record(
            self.experiment, tuple(Player(name, name, {}) for name in self.names)
        )
        await self.matches.begin(self.match, tickets, group)
        for player in range(len(self.names)) if relays is None else relays:
            self.matches.relay_opened(self.match.row.id, player)

    def packet(self, player: int, packet: Packet) -> None:
        """A packet of a player comes on the relay."""
        self.match.seats[player].signs.packet(b"\xff" + encode(packet), self.loop.time())

    async def over_within(self, seconds: float) -> bool:
        """Let time pass until the match is over, and say whether it is."""
        for _ in range(int(seconds / LOOK) + 1):
            if self.matches.get(self.match.row.id) is None:
                return True
            await asyncio.sleep(LOOK)
        return False

    def states(self) -> list[str]:
        """How it stands with each player."""
        return [seat.state for seat in self.match.seats]

    def left(self) -> dict[int, str]:
        """Why players left, as the catalogue was told."""
        return {args[1]: args[3] for name, args in self.catalogue.calls if name == "player_left"}

    def told(self, player: int) -> list[str]:
        """What a client was told of others' departures and the end, in order."""
        messages = self.heard[self.names[player]]
        return [f"{type(m).__name__}: {m.reason}" for m in messages if isinstance(m, PeerLeft | MatchOver)]


def an_input(frame: int, episode: int = 0) -> Input:
    return Input(episode, frame, (b"\x01",), frame, 0, (frame, frame), (False, False), 0, 0, 0, -1, 0, 0, 0)


HELLO = Hello(0, True)
ANY_OTHER = (HELLO, EndAck(0, 3), Bye(0, BYE_REASONS.index("finished")))
END = End(0, 40, b"d" * 32)
