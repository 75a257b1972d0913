"""Matches that several benchmarks play: two wire peers face to face, and scenarios of the simulator."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from rollgym.client_sim.network_model import Link
from rollgym.client_sim.peer.input_source import PolicyInputs
from rollgym.client_sim.peer.peer import Peer
from rollgym.client_sim.peer.phase import PeerPhase
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.games.contract import Game
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.registry import make
from rollgym.protocol.episode.export import Export
from rollgym.protocol.messages import ONLY_RELAY, MatchStart, PlaySettings

PERIOD = 1 / 60


class FaceToFace:
    """Two peers of one match in this process. Packets are handed over in memory, ``lag`` ticks after they were sent."""

    def __init__(self, starts: Sequence[MatchStart], game: str, policies: tuple[str, str], *, lag: int = 1) -> None:
        self.peers = [_peer(start, make(game), policy) for start, policy in zip(starts, policies, strict=True)]
        self.lag = lag
        self._tick = 0
        self._now = 0.0
        # (tick at which it arrives, bytes) for each receiver.
        self._wires: tuple[deque[tuple[int, bytes]], ...] = (deque(), deque())

    def tick(self) -> None:
        """One frame period: both peers take in what has arrived and play."""
        now, tick = self._now, self._tick
        for player, peer in enumerate(self.peers):
            wire, other = self._wires[player], self._wires[1 - player]
            while wire and wire[0][0] <= tick:
                peer.receive(1 - player, wire.popleft()[1], now)
            for _, packet in peer.poll(now):
                other.append((tick + self.lag, packet))
        self._tick += 1
        self._now += PERIOD

    def play(self) -> list[list[Export]]:
        """To the end; each peer's exports."""
        while not all(peer.done for peer in self.peers):
            self.tick()
        return [peer.take_exports() for peer in self.peers]

    def play_frames(self, frames: int) -> None:
        """Until player 0 has simulated ``frames`` more frames of the running episode, which must not end before."""
        peer = self.peers[0]
        while peer.episode is None:
            self.tick()
        end = peer.episode.session.current + frames
        while peer.episode.session.current < end:
            self.tick()
            if peer.phase is not PeerPhase.PLAYING:
                raise AssertionError(f"the episode ended before frame {end}")


def _peer(start: MatchStart, game: Game, policy: str) -> Peer:
    driver = make_policy(policy, game.spec, start.player, start.player)
    return Peer(
        start,
        game,
        PolicyInputs(driver, game.spec.input_codecs[start.player]),
        policy_info={"name": policy},
        software={},
        now=0.0,
        wall=0.0,
    )


def starts_of(settings: PlaySettings) -> list[MatchStart]:
    """What a server would tell the two players of a match."""
    return [
        MatchStart(
            match="benchmark",
            player=player,
            participants=("one", "two"),
            seed=1,
            settings=settings,
            ticket="benchmark",
            transports=ONLY_RELAY,
            upload="upload/{episode}",
        )
        for player in (0, 1)
    ]


def scenario(
    game: str,
    settings: PlaySettings,
    link: Link,
    *,
    policy: str = "random_hold",
    parameters: Mapping[str, Any] | None = None,
    seed: int = 1,
) -> Scenario:
    """A simulated match of two bots of one kind."""

    def build(made: Game, player: int) -> Policy:
        return make_policy(policy, made.spec, player, seed + player)

    return Scenario(settings, lambda: make(game, parameters or {}), [build, build], seed=seed, link=link)
