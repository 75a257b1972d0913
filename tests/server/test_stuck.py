"""No match without an end: in every phase, whatever its players do or do not do."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.protocol.messages import PlaySettings
from rollgym.protocol.packets import Packet, Reached, encode, reached
from rollgym.server.play.match import LAST_UPLOADS, MARGIN
from rollgym.server.play.signs import MAX_FAILED, Signs
from tests.client.virtual import run
from tests.server.virtual_matches import ANY_OTHER, END, FRAMES, HELLO, World, an_input

PLAY = PlaySettings(episodes=2, fps=50.0, start_timeout=30.0, disconnect_timeout=5.0)
PATIENCE = 30.0 + MARGIN + 2 / 50.0
SETTLED = 0.3
"""Virtual seconds for what follows an event at once, and for the steps in which the tests look."""

Does = Callable[[World, int], Awaitable[None]]


async def nothing(world: World, player: int) -> None:
    """Connected and silent."""


async def gone(world: World, player: int) -> None:
    """The control connection broke, and no packet comes."""
    await world.matches.client_gone(world.names[player], "transport error")


async def hello(world: World, player: int) -> None:
    """A living heartbeat, a stuck game."""
    while True:
        world.packet(player, HELLO)
        await asyncio.sleep(0.5)


async def gone_hello(world: World, player: int) -> None:
    """The control connection broke, and the heartbeat goes on."""
    await gone(world, player)
    await hello(world, player)


async def repeats(world: World, player: int) -> None:
    """The same input for ever: what an honest peer sends while its partner is stuck."""
    while True:
        world.packet(player, an_input(7))
        await asyncio.sleep(0.5)


async def beyond(world: World, player: int) -> None:
    """Claims to be further and further in an episode that has an end."""
    for frame in itertools.count(FRAMES * 2):
        world.packet(player, an_input(frame))
        await asyncio.sleep(0.5)


async def ends_again(world: World, player: int) -> None:
    """Says the end of its episode for ever."""
    while True:
        world.packet(player, END)
        await asyncio.sleep(0.5)


async def refused_uploads(world: World, player: int) -> None:
    """Sends bodies that are refused, one after the other, each at work for a while."""
    signs = world.match.seats[player].signs
    while True:
        signs.upload_begins()
        await asyncio.sleep(20.0)
        signs.upload_ends(world.loop.time(), stored=False)


BEHAVIOURS = (nothing, gone, hello, gone_hello, repeats, beyond, ends_again, refused_uploads)


def outcome(first: Does, second: Does, *, within: float, relays: tuple[int, ...] | None = None) -> World:
    """A match in which two clients behave so. It must be over in that many virtual seconds."""

    async def main() -> World:
        world = World(PLAY)
        await world.begin(relays=relays)
        tasks = [asyncio.ensure_future(does(world, n)) for n, does in enumerate((first, second))]
        over = await world.over_within(within)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(SETTLED)
        assert over, (world.match.phase, world.states())
        return world

    return run(main())


REFUSALS = (MAX_FAILED + 1) * 20.0 + 20.0


@pytest.mark.parametrize("second", BEHAVIOURS)
@pytest.mark.parametrize("first", BEHAVIOURS)
def test_a_match_that_is_played_has_an_end_whatever_both_do(first: Does, second: Does) -> None:
    slowest = REFUSALS if refused_uploads in (first, second) else 0.0
    world = outcome(first, second, within=slowest + 2 * PATIENCE + 1.0 + LAST_UPLOADS + SETTLED)
    assert world.metrics.matches_open._value.get() == 0
    assert set(world.left()) == {0, 1}
    assert world.catalogue.calls[-1][0] == "end_match"


@pytest.mark.parametrize("relays", [(), (0,), (1,)])
@pytest.mark.parametrize("second", BEHAVIOURS)
def test_a_match_whose_relay_is_not_opened_is_annulled(second: Does, relays: tuple[int, ...]) -> None:
    world = outcome(nothing, second, within=PLAY.start_timeout + MARGIN + SETTLED, relays=relays)
    assert world.match.annulled
    late = {0, 1} - set(relays) if second not in (gone, gone_hello) else set()
    for player in late:
        assert world.told(player)[-1] == "MatchOver: removed: the relay was not opened in time"


@pytest.mark.parametrize("second", [hello, nothing, repeats])
@pytest.mark.parametrize("first", ["finishes", "leaves", "plays on"])
def test_who_brings_nothing_on_has_to_go_and_the_others_have_their_end(first: str, second: Does) -> None:
    async def main() -> None:
        world = World(PLAY)
        await world.begin()
        task = asyncio.ensure_future(second(world, 1))
        began = world.loop.time()
        for frame in range(100):  # play
            for player in (0, 1):
                world.packet(player, an_input(frame))
            await asyncio.sleep(0.02)
        if first == "finishes":
            await world.matches.finish("c0")
        elif first == "leaves":
            await world.matches.leave("c0", "enough")
        else:
            playing = asyncio.ensure_future(repeats(world, 0))  # which is all that it can do
        times = 2 if first == "plays on" and second is not repeats else 1  # it is given the time once more
        assert await world.over_within(times * PATIENCE + 2 * SETTLED + LAST_UPLOADS + 2.0)
        assert world.loop.time() - began > PATIENCE
        assert world.left()[1] == "stuck"
        assert world.told(1)[-1] == "MatchOver: removed: stuck"
        if first == "plays on":
            assert world.told(0)[-1] == "MatchOver: removed: stuck"
            playing.cancel()
        if first == "finishes":
            assert world.told(0) == ["PeerLeft: stuck", "MatchOver: incomplete: of 2 episodes 2 not received"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main())


def test_who_plays_is_never_held_for_stuck_however_long_it_takes() -> None:
    async def main() -> None:
        world = World(PLAY)
        await world.begin()
        for frame in range(FRAMES):  # one frame in half a minute: a game that is at work
            for player in (0, 1):
                world.packet(player, an_input(frame))
            await asyncio.sleep(PLAY.start_timeout)
        assert world.states() == ["here", "here"]
        for name in world.names:
            await world.matches.finish(name)
        assert await world.over_within(SETTLED)

    run(main())


def test_a_long_upload_is_no_standstill_and_one_that_is_stored_brings_the_match_on() -> None:
    async def main() -> None:
        world = World(PLAY)
        await world.begin()
        await world.matches.finish("c0")
        signs = world.match.seats[1].signs
        signs.upload_begins()
        await asyncio.sleep(4 * PATIENCE)
        assert world.states() == ["finished", "here"]
        signs.upload_ends(world.loop.time(), stored=True)
        await asyncio.sleep(PATIENCE - 1)
        assert world.states() == ["finished", "here"]
        assert await world.over_within(1 + LAST_UPLOADS + 2 * SETTLED)

    run(main())


def test_three_players_one_of_them_stuck() -> None:
    async def main() -> None:
        world = World(PLAY, players=3)
        await world.begin()
        stuck = asyncio.ensure_future(hello(world, 2))
        for frame in range(200):
            for player in (0, 1):
                world.packet(player, an_input(frame))
            await asyncio.sleep(0.5)
        assert world.states() == ["here", "here", "left"]
        assert world.told(0) == world.told(1) == ["PeerLeft: stuck"]
        stuck.cancel()
        assert await world.over_within(PATIENCE + LAST_UPLOADS + 2 * SETTLED)
        await asyncio.gather(stuck, return_exceptions=True)

    run(main())


def test_who_never_opened_the_relay_of_a_match_that_cannot_be_annulled_is_no_reason_to_wait_for_ever() -> None:
    async def main() -> None:
        world = World(PLAY, players=3)
        await world.begin(relays=(0, 1))
        world.match.uploads, world.match.judged = {0: {0}}, {0: frozenset({0})}  # acknowledged
        assert await world.over_within(PLAY.start_timeout + MARGIN + PATIENCE + LAST_UPLOADS + 2 * SETTLED)
        assert world.left() == {2: "did not open the relay", 0: "stuck", 1: "stuck"}

    run(main())


def test_a_match_says_what_it_waits_for_and_since_when() -> None:
    async def main() -> None:
        world = World(PLAY, grace=10.0)
        await world.begin(relays=(0,))
        match, began = world.match, world.loop.time()
        await asyncio.sleep(1.0)
        assert match.awaits(world.loop.time()) == [("to open the relay", 1, began)]
        world.matches.relay_opened(match.row.id, 1)
        world.packet(0, an_input(1))
        await asyncio.sleep(1.0)
        assert match.awaits(world.loop.time()) == [("to play on", 0, began + 1), ("to play on", 1, began + 1)]
        await world.matches.client_gone("c1", "ping timeout")
        match.seats[0].signs.upload_begins()
        await asyncio.sleep(1.0)
        assert match.awaits(world.loop.time()) == [("to upload", 0, began + 1), ("to come back", 1, began + 2)]
        await world.matches.finish("c0")
        await asyncio.sleep(PLAY.silence - 0.9)
        left = match.seats[1].left_at
        assert left is not None
        assert match.awaits(world.loop.time()) == [("last uploads of one who left", 1, left)]
        match.running = {0}
        assert match.awaits(left + LAST_UPLOADS) == [("verdict on episode 0", None, left)]
        match.running = set()
        assert await world.over_within(LAST_UPLOADS + SETTLED)

    run(main())


# --- life -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packet", [an_input(3), HELLO])
def test_a_player_whose_packets_flow_keeps_its_seat_without_a_control_connection(packet: Packet) -> None:
    async def main() -> None:
        world = World(PLAY)
        await world.begin()
        await world.matches.client_gone("c1", "ping timeout")
        for _ in range(20):  # seconds, four times the silence that ends a seat
            world.packet(1, packet)
            await asyncio.sleep(1.0)
        last = world.loop.time() - 1.0
        await asyncio.sleep(last + PLAY.silence - 0.1 - world.loop.time())
        assert world.states() == ["here", "away"]
        await asyncio.sleep(SETTLED)
        assert world.states() == ["here", "left"]
        assert world.left() == {1: "ping timeout"}

    run(main())


def test_a_player_of_whom_nothing_is_heard_loses_its_seat_after_the_silence_of_both() -> None:
    async def main() -> None:
        world = World(PLAY)
        await world.begin()
        world.packet(1, an_input(1))
        await asyncio.sleep(4.0)  # the relay is silent already, the connection breaks now
        await world.matches.client_gone("c1", "ping timeout")
        await asyncio.sleep(PLAY.silence - 0.1)
        assert world.states() == ["here", "away"]
        await asyncio.sleep(SETTLED)
        assert world.states() == ["here", "left"]

    run(main())


# --- what is read of a packet -----------------------------------------------------------------------------------


def test_only_inputs_and_ends_say_how_far_a_peer_is() -> None:
    assert reached(b"\x01" + encode(an_input(70_000, 5)), 1) == Reached(5, 70_000)
    assert reached(encode(END)) == Reached(0, 40)
    for packet in ANY_OTHER:
        assert reached(encode(packet)) is None


@given(st.binary(max_size=60), st.integers(0, 3))
def test_any_bytes_are_looked_at_without_harm(data: bytes, offset: int) -> None:
    reached(data, offset)
    signs = Signs(0.0, Reached(0, 10))
    signs.packet(data, 1.0)
    assert signs.heard == 1.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=30))
def test_nobody_advances_more_often_than_there_are_frames(claims: list[tuple[int, int]]) -> None:
    last = Reached(1, 20)
    signs = Signs(0.0, last)
    advances, furthest = 0, Reached(-1, -1)
    for now, (episode, frame) in enumerate(claims, 1):
        signs.packet(b"\x00" + encode(an_input(frame, episode)), float(now))
        assert signs.moved == now
        if signs.advanced == now:
            advances += 1
            assert furthest < (episode, frame)
            assert (episode <= last.episode, frame <= last.frame) == (True, True)
            furthest = Reached(episode, frame)
    assert advances <= len(set(claims))
