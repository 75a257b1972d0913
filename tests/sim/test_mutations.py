"""Invariants of whole matches: for each a mutation of the code that :func:`judge` notices, and for the right reason."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from rollgym.client_sim.network_model import Channel
from rollgym.client_sim.network_model import Link as NetworkLink
from rollgym.client_sim.peer.disconnect_agreement import DisconnectAgreement
from rollgym.client_sim.peer.episode import Episode
from rollgym.client_sim.peer.episode_end import EpisodeEnd
from rollgym.client_sim.peer.input_sender import InputSender
from rollgym.client_sim.peer.intake import Intake
from rollgym.client_sim.peer.match_phases import MatchPhases
from rollgym.client_sim.peer.remote_peer import RemotePeer
from rollgym.client_sim.peer.unsent_inputs import UnsentInputs
from rollgym.client_sim.record.buffers import Row, SpeculativeBuffer
from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback.checksums import ChecksumBook
from rollgym.client_sim.rollback.errors import InputGap
from rollgym.client_sim.rollback.input_queue import InputQueue
from rollgym.client_sim.rollback.snapshots import SnapshotStore
from rollgym.protocol.packets import Input
from tests.sim.judging import judge
from tests.sim.plans import CORPUS, Dice, Plan, draw_plan

Patch = Callable[[pytest.MonkeyPatch], None]

MUTATIONS: list[tuple[str, str, Patch]] = []

ROUGH = {"latency": 0.04, "jitter": 0.02, "loss": 0.2}

DEATHS = (
    "last_inputs_of_the_dead_at_one_survivor_who_is_done",
    "survivor_leaves_before_the_other_has_its_inputs",
    "a_dead_player_knew_inputs_that_no_survivor_has",
)

PLANS = [
    Plan(frames=20, episodes=2, forward=ROUGH, backward=ROUGH, timeout=2.0),
    Plan(frames=40, episodes=2, hold=3, delay=1, save_every=2, forward=ROUGH, backward=ROUGH, timeout=2.0),
    Plan(frames=60, players=3, episodes=2, ends_from=10, forward=ROUGH, backward={"latency": 0.1}, timeout=2.0),
    *(draw_plan(Dice(number), frames=(20, 40)) for number in range(5)),
    *(Plan.parse((CORPUS / f"{name}.json").read_text()) for name in DEATHS),
]


def mutation(problem: str, what: str) -> Callable[[Patch], Patch]:
    """Register a mutation: ``problem`` is what a judge's complaint about it begins with."""

    def register(patch: Patch) -> Patch:
        MUTATIONS.append((problem, what, patch))
        return patch

    return register


@mutation("8", "inputs that are known already are refused, as if they made a gap")
def _(patch: pytest.MonkeyPatch) -> None:
    original = InputQueue.check

    def check(self: InputQueue, player: int, start: int, values: Sequence[bytes], *more: Any) -> int:
        if values and start < self.next:
            raise InputGap(player, start, self.next)
        return original(self, player, start, values, *more)

    patch.setattr(InputQueue, "check", check)


@mutation("9", "a checksum is taken of the newest state instead of the frame's own")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SnapshotStore, "get", lambda self, frame: self._states[self._frames[-1]])


@mutation("10", "frames are promoted before the pending rollback, as they were recorded when they were played")
def _(patch: pytest.MonkeyPatch) -> None:
    first: dict[tuple[int, int], Row] = {}
    original = SpeculativeBuffer.add

    def add(self: SpeculativeBuffer, frame: int, row: Row) -> None:
        kept = first.setdefault((id(self), frame), row)
        row.outcome = kept.outcome
        original(self, frame, row)

    patch.setattr(SpeculativeBuffer, "add", add)


@mutation("10", "a partner is told other inputs than the ones played")
def _(patch: pytest.MonkeyPatch) -> None:
    original = UnsentInputs.after

    def after(self: UnsentInputs, acked: int, most: int) -> tuple[int, tuple[bytes, ...], bytes]:
        start, values, idle = original(self, acked, most)
        return start, tuple(b"\x00" if frame % 9 == 8 else value for frame, value in enumerate(values, start)), idle

    patch.setattr(UnsentInputs, "after", after)


@mutation("10", "packets of the last episode count for this one")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Intake._on_input

    def hear(self: Intake, remote: RemotePeer, packet: Input, now: float) -> None:
        if packet.episode == self._number - 1:
            packet = packet._replace(episode=self._number, known=(-1,) * len(packet.known), start=0)
        original(self, remote, packet, now)

    patch.setattr(Intake, "_on_input", hear)


@mutation("11", "inputs are sent once and never again")
def _(patch: pytest.MonkeyPatch) -> None:
    original = InputSender._packets

    def packets(self: InputSender, remote: RemotePeer, episode: Episode, *more: Any) -> Iterator[Input]:
        yield from list(original(self, remote, episode, *more))
        remote.acked = episode.unsent.last

    patch.setattr(InputSender, "_packets", packets)


@mutation("11", "the end of an episode is told once")
def _(patch: pytest.MonkeyPatch) -> None:
    original = EpisodeEnd.packets

    def packets(self: EpisodeEnd, now: float) -> Iterator[Any]:
        yield from list(original(self, now))
        self._next = float("inf")

    patch.setattr(EpisodeEnd, "packets", packets)


@mutation("10", "the last inputs of the dead are not handed on")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DisconnectAgreement, "hand_on", lambda self, session, episode, now: iter(()))


@mutation("10", "a survivor does not ask the others up to where they have the inputs of the dead")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DisconnectAgreement, "agreed", lambda self, remote, session: session.queues[remote.player].last)


@mutation("10", "a survivor leaves as soon as it has come to the agreed end itself")
def _(patch: pytest.MonkeyPatch) -> None:
    original = MatchPhases._end

    def end(self: MatchPhases, now: float) -> None:
        if self.episode is not None and not self.episode.complete:
            self._leave("left", now)
        else:
            original(self, now)

    patch.setattr(MatchPhases, "_end", end)


@mutation("9", "what the dead said of states that no survivor can reach is compared")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ChecksumBook, "forget", lambda self, player: None)


@mutation("12", "the network draws from a generator that nobody seeded")
def _(patch: pytest.MonkeyPatch) -> None:
    def channel(self: NetworkLink, source: int, destination: int, seed: int) -> Channel:
        return Channel(self.direction(source, destination), random.Random())

    patch.setattr(NetworkLink, "channel", channel)


@mutation("record:", "what the policy saw is not kept")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EpisodeRecorder, "_compare_seen", lambda self, frame, seen, final: None)


@mutation("raised", "a packet that the decoder lets through makes a peer raise")
def _(patch: pytest.MonkeyPatch) -> None:
    def hear(self: Intake, remote: RemotePeer, packet: Input, now: float) -> None:
        raise LookupError("deep inside")

    patch.setattr(Intake, "_on_input", hear)


def noticed(problem: str) -> bool:
    """Whether the judge's complaints about any of the plans include one that begins so."""
    twice = problem == "12"
    return any(problem in [text.split()[0] for text in judge(plan, twice=twice)[0]] for plan in PLANS)


def test_nothing_is_wrong_without_a_mutation() -> None:
    rollbacks = 0
    for plan in PLANS:
        found, played = judge(plan, twice=True)
        assert not found
        assert played is not None
        rollbacks += played.rollbacks
    assert rollbacks > 100


@pytest.mark.parametrize(
    ("problem", "patch"), [(n, p) for n, _, p in MUTATIONS], ids=[f"{n}: {what}" for n, what, _ in MUTATIONS]
)
def test_mutation_is_noticed(problem: str, patch: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    patch(monkeypatch)
    assert noticed(problem)


def test_every_invariant_has_a_mutation() -> None:
    assert {n for n, _, _ in MUTATIONS} == {"8", "9", "10", "11", "12", "record:", "raised"}
