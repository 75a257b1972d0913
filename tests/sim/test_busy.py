"""A game at work: compiling, loading, generating a level. Its player is there, and nobody takes it for gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from rollgym.client_sim.network_model import CONDITIONS
from rollgym.client_sim.peer.disconnect_agreement import DisconnectAgreement
from rollgym.client_sim.peer.events import MatchEnded, PlayerGone
from rollgym.client_sim.peer.input_source import PolicyInputs
from rollgym.client_sim.peer.intake import Intake
from rollgym.client_sim.peer.peer import Peer
from rollgym.client_sim.peer.remote_peer import RemotePeer
from rollgym.client_sim.simulator import simulator as simulator_module
from rollgym.client_sim.simulator.result import PlayerResult
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import Simulator
from rollgym.games.contract import JointInput, Observation, Outcome
from rollgym.protocol.episode.export import INPUT_IDLE
from rollgym.protocol.messages import ONLY_RELAY, MatchStart, PlaySettings
from rollgym.protocol.packets import EndAck, Hello, encode
from tests.rollback.toy import Toy, ToyPolicy

AT_WORK = 8.0


class Slow(Toy):
    """One call of one method takes a while: the ``at``-th (from 0)."""

    def __init__(self, players: int, method: str, at: int, seconds: float) -> None:
        super().__init__(players)
        self.method = method
        self.left = at
        self.seconds = seconds
        self.spent = 0.0

    def _call(self, name: str) -> None:
        if name == self.method:
            self.left -= 1
            if self.left == -1:
                self.spent += self.seconds

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        self._call("reset")
        return super().reset(seed)

    def step(self, inputs: JointInput) -> Outcome:
        self._call("step")
        return super().step(inputs)

    def observe(self) -> tuple[Observation, ...]:
        self._call("observe")
        return super().observe()


def play(
    method: str, at: int, seconds: float = AT_WORK, *, players: int = 2, slow: int = 0, **more: Any
) -> list[PlayerResult]:
    """Two episodes with default bounds; the call takes its time at player ``slow``."""
    games: list[Toy] = []

    def build() -> Toy:
        games.append(Slow(players, method, at, seconds) if len(games) == slow else Toy(players))
        return games[-1]

    def computing(player: int) -> float:
        game = games[player]
        if not isinstance(game, Slow):
            return 0.0
        spent, game.spent = game.spent, 0.0
        return spent

    def policy(player: int) -> Callable[[Any, int], ToyPolicy]:
        return lambda _game, _player: ToyPolicy(player, 1)

    scenario = Scenario(
        PlaySettings(episodes=2, frame_limit=60, **more),
        build,
        [policy(player) for player in range(players)],
        link=CONDITIONS["wifi_average"],
        computing=computing,
    )
    return Simulator(scenario).run().players


CALLS = {
    "the first reset": ("reset", 0),
    "a later reset": ("reset", 1),
    "the first step": ("step", 0),
    "a step in the middle": ("step", 40),
    "the last frame": ("observe", 60),
}


@pytest.mark.parametrize("players", [2, 3])
@pytest.mark.parametrize("slow", [0, 1])
@pytest.mark.parametrize("on_disconnect", ["end", "continue"])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_of_8_s_ends_no_match(call: str, players: int, slow: int, on_disconnect: str) -> None:
    results = play(*CALLS[call], players=players, slow=slow, on_disconnect=on_disconnect)
    for result in results:
        assert [(export.header.status, export.header.frames) for export in result.exports] == [("complete", 60)] * 2
        assert result.ended == "finished"
        assert not [event for event in result.events if isinstance(event, PlayerGone)]
        assert result.refused == 0
    for number in (0, 1):
        assert len({result.exports[number].digest for result in results}) == 1
    ends = [export.own.ended_at for result in results for export in result.exports]
    assert max(ends) - min(ends) > 0.9
    assert max(ends) - 1_700_000_000 > AT_WORK, "it really took that long"


@pytest.mark.parametrize("slow", [0, 1])
def test_who_plays_on_without_those_who_are_away_does_so_while_a_game_is_at_work(slow: int) -> None:
    results = play("step", 30, 2.0, slow=slow, away="play_on")
    first, second = (result.exports[0] for result in results)
    assert first.digest == second.digest
    assert (first.header.status, first.header.frames) == ("complete", 60)
    idle = first.canonical.columns["input_source"].array()[:, slow] == INPUT_IDLE
    assert int(idle.sum()) > 10, "the frames that it missed"
    assert max(event.depth for event in results[1 - slow].exports[0].own.rollbacks) > 10


@pytest.mark.parametrize("players", [2, 3])
@pytest.mark.parametrize("call", ["the first step", "a step in the middle"])
def test_a_player_who_is_there_and_brings_nothing_on_is_gone_after_the_start_timeout(call: str, players: int) -> None:
    results = play(*CALLS[call], seconds=60.0, players=players, slow=1, start_timeout=12.0)
    for player, result in enumerate(results):
        if player == 1:
            continue
        gone = [event for event in result.events if isinstance(event, PlayerGone)]
        assert gone[0].player == 1
        assert "progress" in gone[0].reason or "gone for" in gone[0].reason
        assert [event.reason for event in gone[1:]] in ([], ["left"]), "nobody else is taken for gone"
        (export,) = result.exports
        assert export.header.status == "partner_silent"
        assert 12.0 < export.own.ended_at - 1_700_000_000 < 15.0
    assert results[1].exports
    assert all(export.header.frames <= 61 for export in results[1].exports)


def lonely(**more: Any) -> Peer:
    game = Toy()
    start = MatchStart("m", 0, ("a", "b"), 1, PlaySettings(frame_limit=600, **more), "t", ONLY_RELAY, "u")
    return Peer(
        start,
        game,
        PolicyInputs(ToyPolicy(0, 1), game.spec.input_codecs[0]),
        policy_info={},
        software={},
        now=0.0,
        wall=0.0,
    )


@pytest.mark.parametrize("late", [8.0, 40.0])
def test_a_peer_whose_own_poll_was_late_does_not_take_its_partners_for_gone(late: float) -> None:
    peer = lonely()
    peer.receive(1, encode(Hello(0, True)), 0.1)
    for tick in range(60):
        peer.poll(0.1 + tick / 60)
    peer.poll(1.1 + late)
    peer.poll(1.2 + late)
    assert [event for event in peer.take_events() if isinstance(event, PlayerGone | MatchEnded)] == []
    for tick in range(600):
        peer.poll(1.2 + late + tick / 60)
    assert PlayerGone(1, "silent") in peer.take_events(), "silence that it did listen to counts"


def test_a_hello_is_life_in_every_phase_and_acknowledges_nothing() -> None:
    peer = lonely(disconnect_timeout=2.0, start_timeout=9.0)
    now = 0.0
    peer.receive(1, encode(Hello(0, True)), now)
    peer.poll(now)
    assert peer.episode is not None
    remote = peer.remotes[1]
    for second in range(8):
        now = float(second)
        for episode in (0, 1, 7):
            peer.receive(1, encode(Hello(episode, True)), now)
        peer.poll(now)
        assert remote.last_heard == now
    assert (remote.acked, remote.end, remote.end_acked, remote.gone) == (-1, None, False, None)
    assert not peer.episode.ended


# -- mutations -------------------------------------------------------------------------------------------------------


def busy_is_silent(patch: pytest.MonkeyPatch) -> None:
    """As it was: nobody says anything while the game is at work."""
    patch.setattr(simulator_module, "KEEP_ALIVE", 1e9)


def progress_has_the_bound_of_silence(patch: pytest.MonkeyPatch) -> None:
    original = DisconnectAgreement.__init__

    def init(self: DisconnectAgreement, *args: Any) -> None:
        original(self, *args)
        self._patience = self.silence

    patch.setattr(DisconnectAgreement, "__init__", init)


def hello_acknowledges(patch: pytest.MonkeyPatch) -> None:
    original = Intake.receive

    def receive(self: Intake, source: int, data: bytes, now: float) -> None:
        original(self, source, data, now)
        original(self, source, encode(EndAck(self._number, 1)), now)

    patch.setattr(Intake, "receive", receive)


def others_have_waited_too_long_as_well(patch: pytest.MonkeyPatch) -> None:
    original = DisconnectAgreement._leave

    def leave(self: DisconnectAgreement, now: float) -> Iterator[RemotePeer]:
        since = self.waiting_since
        yield from list(original(self, now))
        self.waiting_since = since

    patch.setattr(DisconnectAgreement, "_leave", leave)


def no_excuse(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DisconnectAgreement, "excuse", lambda self, gap, now: None)


@pytest.mark.parametrize(
    ("mutation", "victim"),
    [
        (busy_is_silent, lambda: test_a_call_of_8_s_ends_no_match("the first step", 2, 0, "end")),
        (progress_has_the_bound_of_silence, lambda: test_a_call_of_8_s_ends_no_match("the first step", 2, 0, "end")),
        (hello_acknowledges, test_a_hello_is_life_in_every_phase_and_acknowledges_nothing),
        (
            others_have_waited_too_long_as_well,
            lambda: test_a_player_who_is_there_and_brings_nothing_on_is_gone_after_the_start_timeout(
                "a step in the middle", 3
            ),
        ),
        (no_excuse, lambda: test_a_peer_whose_own_poll_was_late_does_not_take_its_partners_for_gone(8.0)),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_a_mutation_is_noticed(
    mutation: Callable[[pytest.MonkeyPatch], None], victim: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        victim()
