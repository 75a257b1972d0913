"""Input source, prediction rule and recorder are arguments of a peer, and the ones that it plays with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollgym.client_sim.peer.peer import Peer
from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback.prediction.rule import InputHistory
from rollgym.games.contract import Game, Observation
from rollgym.protocol.episode.export import Export
from rollgym.protocol.messages import ONLY_RELAY, MatchStart, PlaySettings
from tests.rollback.toy import Toy

SETTINGS = PlaySettings(fps=60, frame_limit=40, input_delay=0)
LATE = 4
"""Ticks that packets are under way."""


class Pressed:
    """Another input at every frame."""

    def __init__(self, player: int) -> None:
        self.player = player
        self.seeds: list[int] = []

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)

    def decide(self, observation: Observation, frame: int) -> bytes:
        return bytes(((frame + self.player) % 3,))


class Counting(EpisodeRecorder):
    """Counts the frames that became canonical, in all episodes."""

    promotions = 0

    def promoted(self, *more: Any) -> None:
        type(self).promotions += 1
        super().promoted(*more)


def test_a_peer_plays_with_what_it_is_given() -> None:
    asked: list[tuple[int, int]] = []

    def rule(history: InputHistory, frame: int) -> bytes:
        asked.append((history.player, frame))
        return b"\x03"

    made: list[int] = []

    def recorder(game: Game, infos: tuple[Mapping[str, Any], ...], player: int) -> EpisodeRecorder:
        made.append(player)
        return Counting(game, infos, player)

    sources = [Pressed(player) for player in (0, 1)]
    peers = [
        Peer(
            MatchStart("m", player, ("a", "b"), 1, SETTINGS, "t", ONLY_RELAY, "u"),
            Toy(),
            sources[player],
            policy_info={},
            software={},
            now=0.0,
            wall=0.0,
            predictor=rule,
            recorder=recorder,
        )
        for player in (0, 1)
    ]
    Counting.promotions = 0
    exports = face_to_face(peers)
    for player, export in enumerate(exports):
        actions = [export.canonical.columns[f"actions/{agent}"].array() for agent in Toy().spec.agents]
        assert [[int(action) for action in column.ravel()] for column in actions] == [
            [(frame + one) % 3 for frame in range(40)] for one in (0, 1)
        ]
        assert {(event.player, event.predicted) for event in export.own.rollbacks} == {(1 - player, b"\x03")}
    assert made == [0, 1]
    assert Counting.promotions == 80
    assert {player for player, _ in asked} == {0, 1}
    assert [len(source.seeds) for source in sources] == [1, 1]


def face_to_face(peers: list[Peer]) -> list[Export]:
    """Play; each peer's one export."""
    flying: list[tuple[int, int, bytes]] = []
    for tick in range(400):
        now = tick / 60
        for at, to, packet in [item for item in flying if item[0] == tick]:
            peers[to].receive(1 - to, packet, at / 60)
        flying = [item for item in flying if item[0] > tick]
        for peer in peers:
            flying += [(tick + LATE, to, packet) for to, packet in peer.poll(now)]
    (one,), (two,) = (peer.take_exports() for peer in peers)
    return [one, two]
