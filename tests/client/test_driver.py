"""The driver: it wakes the peer when the peer wants, carries packets both ways, and always comes to an end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from rollgym.client_sim.player.driver import STOP_LIMIT, Driver, drive
from rollgym.client_sim.player.messages import Alive, Left, Stop
from tests.client.driven import Script
from tests.client.fakes import TickingPeer


class Setup:
    """One driver with a fake peer, and everything it handed over in its order."""

    def __init__(self, **peer: Any) -> None:
        self.script = Script()
        self.peer = TickingPeer(self.script.now, **peer)
        self.handed: list[tuple[str, Any]] = []
        self.driver = Driver(
            self.peer,
            send=lambda player, packet: self.handed.append(("packet", packet)),
            on_export=lambda export: self.handed.append(("export", export)),
            on_event=lambda event: self.handed.append(("event", event)),
            clock=self.script.clock,
        )

    def drive(self) -> None:
        drive(self.driver, self.script, self.script.clock)

    def ticks(self) -> Any:
        return self.driver.stats()["runtime"]

    def of(self, kind: str) -> list[Any]:
        return [thing for what, thing in self.handed if what == kind]


def test_ticks_keep_the_peers_times_without_drift() -> None:
    setup = Setup(frames=600)
    setup.drive()
    assert setup.peer.frame == 600
    assert setup.peer.polls == pytest.approx([1000.0 + i / 60 for i in range(600)], abs=1e-6)
    assert setup.ticks()["ticks"] == 599  # the first poll is not a wakeup
    assert setup.ticks()["late_ticks"] == 0
    assert len(setup.of("packet")) == 600


def test_a_late_tick_is_measured_and_the_next_one_keeps_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup(frames=30)
    receive = setup.script.receive
    calls = 0

    def away(timeout: float) -> Any:
        nonlocal calls
        calls += timeout > 0
        return receive(timeout + 0.020 if calls == 10 and timeout > 0 else timeout)  # not scheduled for 20 ms

    monkeypatch.setattr(setup.script, "receive", away)
    setup.drive()
    ticks = setup.ticks()
    assert ticks["late_ticks"] == 1
    assert ticks["worst_lateness"] == pytest.approx(0.020, abs=1e-6)
    assert ticks["lateness_histogram"]["32"] == 1
    assert setup.peer.polls[-1] == pytest.approx(1000.0 + 29 / 60, abs=1e-6)


def test_a_tick_longer_than_its_frame_makes_the_next_one_late() -> None:
    setup = Setup(frames=30)

    def work() -> None:
        if setup.peer.frame == 10:
            setup.script.now += 0.030

    setup.peer.on_poll = work
    setup.drive()
    ticks = setup.ticks()
    assert ticks["worst_tick"] == pytest.approx(0.030, abs=1e-6)
    assert ticks["worst_lateness"] == pytest.approx(0.030 - 1 / 60, abs=1e-6)
    assert ticks["late_ticks"] == 1


def test_a_packet_wakes_a_peer_that_wants_it() -> None:
    setup = Setup(frames=3, fps=1.0)
    setup.script.at(0.25, b"x")
    receive = setup.peer.receive

    def arrive(source: int, data: bytes, now: float) -> None:
        receive(source, data, now)
        setup.peer.wants = 0.0  # stalled since long ago, and free to go on now

    setup.peer.receive = arrive  # type: ignore[method-assign]
    setup.drive()
    assert setup.peer.polls == pytest.approx([1000.0, 1000.25, 1001.0, 1002.0], abs=1e-6)
    assert setup.ticks()["worst_lateness"] < 1e-6  # the peer's waiting is no lateness of ours


def test_a_packet_that_changes_nothing_does_not_wake_the_peer() -> None:
    setup = Setup(frames=2, fps=1.0)
    setup.script.at(0.25, b"x")
    setup.drive()
    assert len(setup.peer.received) == 1
    assert len(setup.peer.polls) == 2


def test_packets_that_came_while_the_game_was_at_work_keep_their_times_and_come_before_the_next_tick() -> None:
    setup = Setup(frames=30)
    for number in range(100):
        setup.script.at(0.2 + number / 60, b"%d" % number)

    def work() -> None:
        if setup.peer.frame == 10:
            setup.script.now += 5.0
        if len(setup.peer.polls) == 12:
            assert len(setup.peer.received) == 100

    setup.peer.on_poll = work
    setup.drive()
    assert [data for _, data, _ in setup.peer.received] == [b"%d" % number for number in range(100)]
    assert [at for _, _, at in setup.peer.received] == pytest.approx([1000.2 + n / 60 for n in range(100)], abs=1e-6)


def test_a_flood_of_packets_keeps_no_tick_from_its_time() -> None:
    setup = Setup(frames=30)
    receive = setup.script.receive

    def flooded(timeout: float) -> Any:
        found = receive(0.0)
        if found is None:
            setup.script.now += 0.0001
            setup.script.at(setup.script.now - 1000.0, b"flood")
            found = receive(0.0)
        return found

    setup.script.receive = flooded  # type: ignore[method-assign]
    setup.drive()
    assert setup.peer.frame == 30
    assert setup.ticks()["worst_lateness"] < 0.001
    assert len(setup.peer.received) > 1000


def test_nothing_is_played_while_nobody_serves_the_network() -> None:
    """The others are not silent then: nobody listens. The peer finds that it was away, as if it had been stopped."""
    setup = Setup(frames=300)
    for number in range(100):
        if not 1.0 <= number / 10 < 4.0:
            setup.script.at(number / 10, Alive())
    drive(setup.driver, setup.script, setup.script.clock, quiet=0.3)
    assert setup.peer.frame == 300
    gap = [(a, b) for a, b in pairwise(setup.peer.polls) if b - a > 0.1]
    assert [(round(a - 1000.0, 1), round(b - 1000.0, 1)) for a, b in gap] == [(1.2, 4.0)]


def test_a_game_at_work_does_not_look_like_a_network_that_is_not_served() -> None:
    setup = Setup(frames=120)
    for number in range(100):
        setup.script.at(number / 10, Alive())

    def work() -> None:
        if setup.peer.frame == 10:
            setup.script.now += 3.0

    setup.peer.on_poll = work
    drive(setup.driver, setup.script, setup.script.clock, quiet=0.3)
    assert setup.peer.frame == 120
    assert sum(b - a > 0.1 for a, b in pairwise(setup.peer.polls)) == 1


def test_stop_ends_the_match_at_once_and_hands_over_what_there_is() -> None:
    setup = Setup(frames=10**9)
    setup.script.at(1.0, Stop())
    setup.drive()
    assert setup.peer.stopped_at == pytest.approx(1001.0, abs=1e-6)
    assert setup.script.now < 1001.0 + STOP_LIMIT
    assert setup.peer.frame >= 60
    assert setup.of("event") == ["stopped"]


def test_a_peer_that_will_not_end_is_left_behind() -> None:
    setup = Setup(frames=10**9)
    setup.peer.lingers = True
    setup.script.at(1.0, Stop())
    setup.drive()
    assert setup.script.now == pytest.approx(1001.0 + STOP_LIMIT, abs=0.01)


@pytest.mark.parametrize("where", ["poll", "receive", "on_export"])
def test_what_is_raised_comes_out_and_the_peer_may_still_be_stopped(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(frames=60)

    def fail(*_: Any) -> None:
        raise ZeroDivisionError(where)

    if where == "poll":
        setup.peer.on_poll = lambda: fail() if setup.peer.frame == 30 and setup.peer.stopped_at is None else None
    elif where == "receive":
        monkeypatch.setattr(setup.peer, "receive", fail)
        setup.script.at(0.5, b"x")
    else:
        monkeypatch.setattr(setup.driver, "_on_export", fail)
        setup.peer.on_poll = lambda: setup.peer.exports.append("an export") if setup.peer.frame == 30 else None  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError, match=where):
        setup.drive()
    assert 25 <= setup.peer.frame <= 40
    setup.driver.stop()
    assert setup.of("event") == ["stopped"]


def test_the_servers_word_that_a_player_left_reaches_the_peer() -> None:
    setup = Setup(frames=60)
    setup.script.at(0.0, Left(1))
    setup.script.at(0.5, Left(1))
    setup.drive()
    assert setup.peer.left == [1, 1]


def test_nobody_hears_of_an_export_before_it_is_safe() -> None:
    """The packets that go out with it are the partner's word of it, the events our own client's."""
    setup = Setup(frames=5)

    def end() -> None:
        if setup.peer.frame == 4:
            export: Any = "an export"
            setup.peer.exports.append(export)
            setup.peer.events.append("ended")

    setup.peer.on_poll = end
    setup.drive()
    kinds = [what for what, _ in setup.handed]
    assert kinds == ["packet"] * 4 + ["export", "packet", "event"]
