"""Hostile packets at a peer in the middle of a match: refused and counted, and the match is none the worse for it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from rollgym.client_sim.peer import Peer
from rollgym.client_sim.simulator import Simulator
from rollgym.protocol import packets
from rollgym.protocol.packets import Bye, End, EndAck, Forward, Hello, Input, decode, encode
from tests.rollback.toy import ToyPolicy
from tests.sim.judging import Played, judge_played, scenario
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
    """Who sent a packet is what the transport says; a player that does not exist can not leave."""
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
