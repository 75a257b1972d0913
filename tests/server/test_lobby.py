"""The queue as a pure state machine: whatever happens, every client is in one place and the order is kept."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from rollgym.server.lobby.queue import Group, Lobby, LobbyError, Place


def test_pairs_in_the_order_of_arrival() -> None:
    lobby = Lobby(2, 10)
    for name in "abcde":
        lobby.join(name)
    groups = [lobby.pair(), lobby.pair(), lobby.pair()]
    assert [group.members for group in groups if group] == [("a", "b"), ("c", "d")]
    assert groups[2] is None
    assert lobby.queue() == ("e",)


def test_who_is_left_of_a_group_goes_to_the_front() -> None:
    lobby = Lobby(3, 10)
    for name in "abcdef":
        lobby.join(name)
    group = lobby.pair()
    assert group is not None
    assert lobby.leave("b") is Place.SEATED
    assert lobby.dissolve(group) == ("a", "c")
    assert lobby.queue() == ("a", "c", "d", "e", "f")


@pytest.mark.parametrize(("seated", "code"), [(False, "already_waiting"), (True, "already_playing")])
def test_nobody_is_in_two_places(seated: bool, code: str) -> None:
    lobby = Lobby(1, 10)
    lobby.join("a")
    if seated:
        lobby.pair()
    with pytest.raises(LobbyError) as caught:
        lobby.join("a")
    assert caught.value.code == code


def test_a_full_queue_takes_nobody_and_keeps_who_it_has() -> None:
    lobby = Lobby(2, 1)
    lobby.join("a")
    with pytest.raises(LobbyError) as caught:
        lobby.join("b")
    assert caught.value.code == "full"
    assert lobby.queue() == ("a",)
    assert lobby.place("b") is Place.NOWHERE


def test_released_from_an_old_group_does_not_touch_the_new_one() -> None:
    lobby = Lobby(1, 10)
    lobby.join("a")
    old = lobby.pair()
    assert old is not None
    lobby.release("a", old)
    lobby.join("a")
    new = lobby.pair()
    assert new is not None
    lobby.release("a", old)
    assert lobby.place("a") is Place.SEATED


class LobbyMachine(RuleBasedStateMachine):
    """Random histories against a list and a dict."""

    groups = Bundle("groups")

    @initialize(seats=st.integers(1, 4), capacity=st.integers(1, 8))
    def begin(self, seats: int, capacity: int) -> None:
        self.lobby = Lobby(seats, capacity)
        self.seats = seats
        self.capacity = capacity
        self.queue: list[str] = []
        self.seated: dict[str, Group] = {}

    @rule(client=st.sampled_from("abcdefghijABC"))
    def join(self, client: str) -> None:
        may = client not in self.queue and client not in self.seated and len(self.queue) < self.capacity
        try:
            self.lobby.join(client)
        except LobbyError:
            assert not may
        else:
            assert may
            self.queue.append(client)

    @rule(client=st.sampled_from("abcdefghijABC"))
    def leave(self, client: str) -> None:
        expected = Place.WAITING if client in self.queue else Place.SEATED if client in self.seated else Place.NOWHERE
        assert self.lobby.leave(client) is expected
        if client in self.queue:
            self.queue.remove(client)
        self.seated.pop(client, None)

    @rule(target=groups)
    def pair(self) -> Group:
        group = self.lobby.pair()
        if len(self.queue) < self.seats:
            assert group is None
            return Group(())
        assert group is not None
        assert list(group.members) == self.queue[: self.seats]
        del self.queue[: self.seats]
        self.seated.update(dict.fromkeys(group.members, group))
        return group

    @rule(group=groups)
    def dissolve(self, group: Group) -> None:
        back = list(dict.fromkeys(client for client in group.members if self.seated.get(client) is group))
        assert list(self.lobby.dissolve(group)) == back
        self.queue[:0] = back
        for client in back:
            del self.seated[client]

    @rule(group=groups)
    def release(self, group: Group) -> None:
        for client in group.members:
            self.lobby.release(client, group)
            if self.seated.get(client) is group:
                del self.seated[client]

    @rule(group=groups, seat=st.integers(0, 3), new=st.sampled_from("ABC"))
    def replace(self, group: Group, seat: int, new: str) -> None:
        """A player of a group comes back on another connection, whether the old one is still seated or not."""
        if seat >= len(group.members) or new in self.seated or new in self.queue:
            return
        old = group.members[seat]
        if self.seated.get(old) is not group and old in (*self.seated, *self.queue):
            return  # that connection has gone elsewhere, and nobody asks for this seat with it
        self.lobby.replace(old, new, group)
        assert group.members[seat] == new
        assert old == new or old not in group.members
        if self.seated.get(old) is group:
            del self.seated[old]
        self.seated[new] = group

    @invariant()
    def same(self) -> None:
        if hasattr(self, "lobby"):
            assert list(self.lobby.queue()) == self.queue
            assert self.lobby.waiting == len(self.queue)
            assert self.lobby.seated == len(self.seated)


TestLobby = LobbyMachine.TestCase
