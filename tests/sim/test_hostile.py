"""Hostile packets at a peer in the middle of a match: refused and counted, and the match is none the worse for it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest

from rollgym.client_sim.peer.episode import action_check
from rollgym.client_sim.peer.peer import Peer
from rollgym.client_sim.rollback.errors import InputRefused
from rollgym.client_sim.rollback.input_book import InputBook
from rollgym.client_sim.rollback.session import Session
from rollgym.client_sim.simulator.simulator import Simulator
from rollgym.protocol import packets
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.packets import BYE_REASONS, Bye, End, EndAck, Forward, Hello, Input, Packet, decode, encode
from tests.rollback.fingerprint import fingerprint
from tests.rollback.toy import Bare, Toy, ToyPolicy
from tests.sim.judging import Played, _inputs, _oracle, judge_played, scenario
from tests.sim.plans import Plan

ROUGH = {"latency": 0.03, "jitter": 0.02, "loss": 0.05}

PLAN = Plan(frames=60, episodes=3, forward=ROUGH, backward=ROUGH, seed=5)

Attack = Callable[[random.Random, Peer, int, bytes], bytes | None]
"""(generator, the peer attacked, whose connection it comes from, an honest packet that just came) -> a packet."""


def honest_input(data: bytes, peer: Peer) -> Input | None:
    """The packet as an input packet of the present episode, if it is one."""
    packet = decode(data)
    episode = peer.episode
    if type(packet) is not Input or episode is None or packet.episode != episode.number:
        return None
    return packet


def noise(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 6, 7, 8, 40, 60, 200, 1200, 1201, 5000)))


def noise_behind_a_head(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes:
    return data[:3] + rng.randbytes(rng.randrange(3, 80))


def cut_short(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def made_longer(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 9))


def too_many_players(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes | None:
    packet = honest_input(data, peer)
    count = rng.choice((0, 1, 3, 16))
    return packet and encode(packet._replace(known=(5,) * count, gone=(False,) * count))


def future_acknowledgement(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes | None:
    packet = honest_input(data, peer)
    return packet and encode(packet._replace(known=(rng.randrange(5000, 1 << 30),) * len(packet.known)))


def inputs_behind_a_gap(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes | None:
    packet = honest_input(data, peer)
    return packet and encode(packet._replace(start=packet.start + rng.randrange(500, 1 << 31), inputs=(b"\x01",)))


def inputs_too_wide(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes | None:
    packet = honest_input(data, peer)
    return packet and encode(packet._replace(inputs=(b"\x01\x01", b"\x02\x02")))


def inputs_that_contradict(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes | None:
    packet = honest_input(data, peer)
    if packet is None or not packet.inputs or peer.episode is None:
        return None
    queue = peer.episode.session.queues[source]
    if not queue.base <= packet.start <= queue.last:
        return None
    other = bytes((packet.inputs[0][0] ^ 1,))
    return encode(packet._replace(inputs=(other, *packet.inputs[1:])))


def checksum_of_the_far_future(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes | None:
    packet = honest_input(data, peer)
    frame = rng.choice((5000, 1 << 20, (1 << 31) - 1))
    return packet and encode(packet._replace(checksum_frame=frame, checksum=rng.getrandbits(64)))


def checksum_of_the_past(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes | None:
    packet = honest_input(data, peer)
    return packet and encode(packet._replace(checksum_frame=3, checksum=rng.getrandbits(64)))


def an_old_episode(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes | None:
    number = peer.episode.number if peer.episode is not None else 0
    if number == 0:
        return None
    old = rng.randrange(number)
    packet = honest_input(data, peer)
    if packet is None:
        return None
    return rng.choice(
        (
            encode(packet._replace(episode=old, start=0, inputs=(b"\x03",) * 20)),
            encode(End(old, rng.randrange(100), rng.randbytes(32))),
            encode(EndAck(old, rng.randrange(100))),
            encode(Hello(old, True)),
        )
    )


def a_distant_episode(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes:
    """Nobody can be more than one episode ahead."""
    number = (peer.episode.number if peer.episode is not None else 0) + rng.choice((2, 3, 1 << 20))
    packet = decode(data)
    if type(packet) is Input:
        return encode(packet._replace(episode=number, start=0, inputs=(b"\x03",) * 20))
    return encode(rng.choice((End(number, 60, rng.randbytes(32)), EndAck(number, 60), Hello(number, True))))


def inputs_of_somebody_else(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes | None:
    """Only the inputs of players who are gone may be handed on."""
    number = peer.episode.number if peer.episode is not None else 0
    return encode(Forward(number, rng.randrange(16), rng.randrange(50), (b"\x03",) * 9))


ATTACKS: dict[str, tuple[Attack, bool]] = {
    "noise": (noise, True),
    "noise behind a head": (noise_behind_a_head, True),
    "cut short": (cut_short, True),
    "made longer": (made_longer, True),
    "too many players": (too_many_players, True),
    "future acknowledgement": (future_acknowledgement, True),
    "inputs behind a gap": (inputs_behind_a_gap, True),
    "inputs too wide": (inputs_too_wide, True),
    "inputs that contradict": (inputs_that_contradict, True),
    "checksum of the far future": (checksum_of_the_far_future, False),
    "checksum of the past": (checksum_of_the_past, False),
    "an old episode": (an_old_episode, False),
    "a distant episode": (a_distant_episode, False),
    "inputs of somebody else": (inputs_of_somebody_else, False),
}
"""Each with whether it must show up as refused; the others are of no interest, and passed over."""


class Attacked(Simulator):
    """Behind every packet that arrives there comes a hostile one from the same connection."""

    def __init__(self, plan: Plan, policies: list[ToyPolicy], attack: Attack) -> None:
        super().__init__(scenario(plan, policies))
        self.attacks = 0
        self._attack = attack
        self._rng = random.Random(plan.seed)

    def _handle(self, now: float, kind: int, player: int, data: bytes) -> None:
        super()._handle(now, kind, player, data)
        peer = self.peers[player]
        if kind == PACKET and peer is not None and not peer.done:
            hostile = self._attack(self._rng, peer, data[0], data[1:])
            if hostile is not None:
                self.attacks += 1
                peer.receive(data[0], hostile, now)
                peer.receive(9, hostile, now)  # from nobody in this match
                self._reschedule(player, peer, now)


PACKET = 2
"""The simulator's event of an arriving packet; data is the sender's index and the packet."""


def attacked(plan: Plan, attack: Attack) -> tuple[list[str], Played, int]:
    """What is wrong after an attacked match, leaving out that packets were refused."""
    policies: list[ToyPolicy] = []
    simulator = Attacked(plan, policies, attack)
    played = Played(simulator.run(), policies)
    return [text for text in judge_played(plan, played) if not text.startswith("8")], played, simulator.attacks


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("players", [2, 3])
def test_attack(name: str, players: int) -> None:
    attack, refused = ATTACKS[name]
    plan = Plan(**{**vars(PLAN), "players": players})
    problems, played, attacks = attacked(plan, attack)
    assert not problems
    assert attacks > 100
    assert played.frames == 180
    assert played.rollbacks > 20
    for result in played.result.players:
        if refused:
            assert result.refused > 50, result.refusals
            assert result.refusals
        else:
            assert result.refused == 0, result.refusals


def test_a_goodbye_of_a_stranger_ends_nothing() -> None:
    """Who sent a packet is what the transport says; a player that does not exist cannot leave."""
    policies: list[ToyPolicy] = []
    simulator = Attacked(PLAN, policies, lambda rng, peer, source, data: None)
    original = simulator._handle

    def handle(now: float, kind: int, player: int, data: bytes) -> None:
        original(now, kind, player, data)
        peer = simulator.peers[player]
        if peer is not None:
            for stranger in (-1, player, 7):
                peer.receive(stranger, encode(Bye(0, 1)), now)

    simulator._handle = handle  # type: ignore[method-assign]
    assert not judge_played(PLAN, Played(simulator.run(), policies))


def test_a_decoder_without_bounds_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation to the tests above: sizes are not checked."""
    monkeypatch.setattr(packets, "_expect", lambda size, wanted, name: None)
    with pytest.raises(struct.error, match="unpack_from requires a buffer"):
        attacked(PLAN, cut_short)


# -- every field of every packet -------------------------------------------------------------------------------------


def of_input(**changes: Any) -> Callable[[Input, Peer, random.Random], Packet]:
    return lambda packet, peer, rng: packet._replace(
        **{name: value(packet, rng) if callable(value) else value for name, value in changes.items()}
    )


def new_inputs(*values: bytes, idle: bytes = b"") -> Callable[[Input, Peer, random.Random], Packet]:
    """Inputs for the frames that are due next from the sender: nothing that is known contradicts them."""

    def make(packet: Input, peer: Peer, rng: random.Random) -> Packet:
        start = peer.episode.session.queues[1].next if peer.episode is not None else 0
        return packet._replace(start=start, inputs=values, idle=idle)

    return make


def forwarded(**changes: Any) -> Callable[[Input, Peer, random.Random], Packet]:
    """The sender's inputs, or somebody's, handed on by whoever has no business to."""

    def make(packet: Input, peer: Peer, rng: random.Random) -> Packet:
        known = peer.episode.session.queues[1 - peer.player].next if peer.episode is not None else 0
        honest = Forward(packet.episode, rng.randrange(3), known, (b"\x01",) * 3)
        return honest._replace(
            **{name: value(honest, rng) if callable(value) else value for name, value in changes.items()}
        )

    return make


def other(kind: Callable[..., Packet], *values: Any) -> Callable[[Input, Peer, random.Random], Packet]:
    return lambda packet, peer, rng: kind(
        packet.episode, *[value(packet, rng) if callable(value) else value for value in values]
    )


def times(value: bytes) -> Callable[[Any, random.Random], tuple[bytes, ...]]:
    return lambda packet, rng: (value,) * max(1, len(packet.inputs))


TOP = (1 << 31) - 1

FIELDS: dict[str, tuple[Callable[[Input, Peer, random.Random], Packet], bool]] = {
    "input episode": (of_input(episode=lambda p, rng: rng.choice((p.episode + 2, (1 << 32) - 1))), False),
    "input start": (of_input(start=lambda p, rng: rng.choice((TOP, (1 << 32) - 1)), inputs=times(b"\x01")), True),
    "input count": (of_input(inputs=lambda p, rng: (b"\x00",) * 700, start=0), False),
    "input that is no action": (new_inputs(b"\xc8", b"\x00"), True),
    "input that is nearly an action": (new_inputs(b"\x00", b"\x04"), True),
    "input that is no action, filled in": (new_inputs(b"\xc8", idle=b"\x01"), True),
    "input of two bytes": (new_inputs(b"\x00\x00"), True),
    "input filled in where that is ruled out": (new_inputs(b"\x00", idle=b"\x01"), True),
    "input current": (of_input(current=TOP), True),
    "input advantage": (of_input(advantage=lambda p, rng: rng.choice((-32768, 32767))), False),
    "input known of the other": (of_input(known=lambda p, rng: (TOP,) * len(p.known)), True),
    "input known of nobody": (of_input(known=lambda p, rng: (-1,) * len(p.known)), False),
    "input known of too few": (of_input(known=(3,), gone=(False,)), True),
    "input gone": (of_input(gone=lambda p, rng: (True,) * len(p.gone)), False),
    "input gone of the sender": (of_input(gone=lambda p, rng: (False, *[True] * (len(p.gone) - 1))), False),
    "input sent": (of_input(sent=lambda p, rng: rng.getrandbits(32)), False),
    "input echo": (of_input(echo=lambda p, rng: rng.getrandbits(32), echo_age=3), False),
    "input echo age": (of_input(echo_age=lambda p, rng: rng.choice((0, 65533, 65534, 65535))), False),
    "input checksum frame": (of_input(checksum_frame=TOP, checksum=1), False),
    "input checksum": (of_input(checksum=lambda p, rng: rng.getrandbits(64)), False),
    "input sequence": (of_input(sequence=lambda p, rng: rng.getrandbits(16)), False),
    "input loss": (of_input(loss=255), False),
    "forward player": (forwarded(player=15), False),
    "forward start": (forwarded(start=(1 << 32) - 1), False),
    "forward inputs": (forwarded(inputs=(b"\xc8",) * 9), False),
    "forward idle": (forwarded(idle=b"\x07"), False),
    "end frames": (other(End, lambda p, rng: rng.choice((0, 1, (1 << 32) - 1)), bytes(32)), False),
    "end digest": (other(End, 60, lambda p, rng: rng.randbytes(32)), False),
    "end ack frames": (other(EndAck, lambda p, rng: rng.choice((0, (1 << 32) - 1))), False),
    "hello heard": (other(Hello, lambda p, rng: rng.random() < 0.5), False),
    "bye reason": (other(Bye, lambda p, rng: rng.randrange(len(BYE_REASONS))), False),
}
"""Each with whether it must show up as refused."""


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("players", [2, 3])
@pytest.mark.parametrize("on_desync", ["stop", "continue"])
def test_whatever_a_partner_says_the_canonical_prefix_is_what_was_played(
    name: str, players: int, on_desync: str
) -> None:
    """From its 20th packet on, one partner's packets are followed by hostile ones. They may end the match, no more."""
    make, refused = FIELDS[name]
    heard = 0

    def attack(rng: random.Random, peer: Peer, source: int, data: bytes) -> bytes | None:
        nonlocal heard
        packet = decode(data)
        if peer.player != 0 or source != 1 or type(packet) is not Input:
            return None
        heard += 1
        return encode(make(packet, peer, rng)) if heard > 20 else None

    plan = Plan(**{**vars(PLAN), "players": players, "on_desync": on_desync, "episodes": 2, "timeout": 2.0})
    policies: list[ToyPolicy] = []
    simulator = Attacked(plan, policies, attack)
    played = Played(simulator.run(), policies)
    assert simulator.attacks > 0
    result = played.result.players[0]
    assert result.exports
    for player in played.result.players:
        for export in player.exports:
            check_export(export)
            problems = [*_inputs(plan, played, export.header.episode, export), *_oracle(plan, export)]
            assert not problems
    assert result.exports[0].header.frames > 3
    if refused:
        assert result.refused > 20, result.refusals
        assert [export.header.status for export in result.exports] == ["complete"] * 2, "refused, and nothing else"


def test_every_field_of_every_packet_is_among_them() -> None:
    told = " ".join(FIELDS)
    for kind, word in (
        (Input, "input"),
        (Forward, "forward"),
        (End, "end"),
        (EndAck, "end ack"),
        (Hello, "hello"),
        (Bye, "bye"),
    ):
        for field in kind._fields[1:]:
            wanted = {"inputs": "input that is no action", "idle": "filled in"}.get(
                field, f"{word} {field.replace('_', ' ')}"
            )
            assert wanted in told or (kind is Forward and f"forward {field}" in told), wanted


@pytest.mark.parametrize("idle", [b"\x10", b"\xff"])
def test_bits_of_the_idle_bitmap_beyond_the_inputs_are_refused(idle: bytes) -> None:
    packet = Input(0, 0, (b"\x00",) * 4, 1, 0, (0, 0), (False, False), 0, 0, 0, -1, 0, 0, 0, idle)
    for hostile in (packet, Forward(0, 1, 0, (b"\x00",) * 4, idle)):
        with pytest.raises(packets.PacketError, match="bits beyond 4 inputs"):
            decode(encode(hostile))
        assert decode(encode(hostile._replace(idle=b"\x0f"))).idle == b"\x0f"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "idle", ["where it is ruled out", "on another input than the default", "after its owner's own"]
)
def test_a_filled_in_input_that_cannot_be_is_refused_and_changes_nothing(idle: str) -> None:
    codec = Toy().spec.input_codecs[0]
    session = Session(
        Bare(), (b"\x00",) * 2, (0,), actions=[action_check(codec)] * 2, idle=idle != "where it is ruled out"
    )
    session.add_inputs(1, 0, [b"\x03", b"\x00"])
    before = fingerprint(session)
    attempts = {
        "where it is ruled out": (2, [b"\x00"], [1]),
        "on another input than the default": (2, [b"\x00", b"\x02"], [1, 1]),
        "after its owner's own": (1, [b"\x00", b"\x00"], [1, 1]),
    }
    with pytest.raises(InputRefused):
        session.add_inputs(1, *attempts[idle])
    with pytest.raises(InputRefused, match=r"expected 0\.\.3"):
        session.add_inputs(1, 2, [b"\x03", b"\xc8"])
    assert fingerprint(session) == before


@pytest.mark.parametrize("check", ["_check_actions", "_check_idle"])
def test_a_session_that_does_not_look_is_noticed(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InputBook, check, lambda *_: None)
    name = "input that is no action" if check == "_check_actions" else "input filled in where that is ruled out"
    with pytest.raises(AssertionError):
        test_whatever_a_partner_says_the_canonical_prefix_is_what_was_played(name, 2, "stop")
