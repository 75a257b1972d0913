"""The real client and the real server over real sockets, with delay and loss in the clients' own transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from rollgym.client_sim.client.client import BotPlayer, play
from rollgym.client_sim.client.control_errors import ConnectionLost, JoinRefused
from rollgym.client_sim.client.results import Joined, Paired, PlayResult, Progress
from rollgym.client_sim.exports.spool import Spool
from rollgym.client_sim.exports.upload import Stored
from rollgym.client_sim.network_model import Link, NetworkConditions
from rollgym.client_sim.peer.events import EpisodeEnded, PlayerGone
from rollgym.client_sim.transport.interface import GONE
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.files.parquet import read_episode
from rollgym.protocol.messages import MatchOver, MatchStart
from rollgym.server.http.status import status
from rollgym.server.settings import Play, ServerSettings
from tests.e2e.serving import Running, running
from tests.patience import PATIENCE
from tests.server.clients import Client, make_settings

BAD = Link.both(NetworkConditions(loss=0.05, latency=0.03, jitter=0.005))
QUICK = {"fps": 120.0, "frame_limit": 60, "input_delay": 0, "max_prediction": 30, "disconnect_timeout": 20.0}


def settings(data: Path, *, upload_grace: float = 30.0, **play_settings: Any) -> ServerSettings:
    return make_settings(data, play=Play(**{**QUICK, "episodes": 2, **play_settings}), upload_grace=upload_grace)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings(tmp_path / "data")) as server:
        yield server


class Bot:
    """One client with its own folders, and everything it reported."""

    def __init__(self, url: str, folder: Path, name: str, *, network: Link | None = BAD, game: str = "drift") -> None:
        self.url = url
        self.folder = folder / name
        self.name = name
        self.network = network
        self.game = game
        self.stop = asyncio.Event()
        self.events: list[Any] = []
        self._watching: list[tuple[Callable[[Any], bool], asyncio.Future[Any]]] = []

    @property
    def spool(self) -> Spool:
        return Spool(self.folder / "spool")

    def heard(self, event: Any) -> None:
        self.events.append(event)
        for wanted, found in self._watching:
            if not found.done() and wanted(event):
                found.set_result(event)

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The first event that is wanted, from now on."""
        found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._watching.append((wanted, found))
        async with asyncio.timeout(PATIENCE):
            return await found

    async def until_it_plays(self) -> None:
        """Some frames of an episode have been played."""
        await self.until(lambda event: isinstance(event, Progress) and event.stats["peer"]["frame"] >= 30)

    async def play(self) -> PlayResult:
        async with asyncio.timeout(PATIENCE):
            return await play(
                self.url,
                BotPlayer(self.game, "random", seed=11),
                spool=self.folder / "spool",
                keep=self.folder / "keep",
                participant=self.name,
                network=self.network,
                network_seed=4,
                on_event=self.heard,
                progress_every=0.02,
                stop=self.stop,
            )


async def test_two_clients_play_and_the_server_verifies_every_episode(server: Running, tmp_path: Path) -> None:
    bots = [Bot(server.url, tmp_path, name) for name in ("ann", "bob")]
    ann, bob = await asyncio.gather(*(bot.play() for bot in bots))
    assert {ann.participant, bob.participant} == {"ann", "bob"}
    assert {ann.player, bob.player} == {0, 1}
    assert ann.match == bob.match
    for result, bot in ((ann, bots[0]), (bob, bots[1])):
        assert [(e.episode, e.status, e.frames, e.unconfirmed) for e in result.episodes] == [
            (0, "complete", 60, 0),
            (1, "complete", 60, 0),
        ]
        assert {n: v.verdict for n, v in result.verdicts.items()} == {0: "verified", 1: "verified"}
        assert (result.stored, result.refused, result.pending, result.desyncs) == ({0, 1}, [], 0, [])
        assert (result.reason, result.lost, result.stopped) == ("finished", None, False)
        assert list(bot.spool.pending()) == []
        # Play really happened, over the network that was asked for: its delay is in what the peer measures.
        assert sum(e.stats["rollbacks"] for e in result.episodes) > 0
        assert result.stats["transport"]["received"] > 60
        assert result.stats["peer"]["rtt"] > 0.05
        (impairment,) = result.stats["transport"]["impairment"].values()
        assert impairment["lost"] > 0
    assert len(ann.kept) == len(bob.kept) == 2
    for mine, theirs in zip(ann.kept, bob.kept, strict=True):
        first, second = read_episode(mine), read_episode(theirs)
        assert first.canonical is not None
        assert second.canonical is not None
        assert compare_episodes((first.header, first.canonical), (second.header, second.canonical)) is None


async def test_a_client_that_is_stopped_leaves_its_part_and_so_does_its_partner(tmp_path: Path) -> None:
    async with running(settings(tmp_path / "data", frame_limit=100_000, upload_grace=2.0)) as server:
        ann, bob = Bot(server.url, tmp_path, "ann"), Bot(server.url, tmp_path, "bob")
        playing = [asyncio.create_task(bot.play()) for bot in (ann, bob)]
        await asyncio.gather(ann.until_it_plays(), bob.until_it_plays())
        ann.stop.set()
        stopped, other = await asyncio.gather(*playing)
    assert stopped.stopped
    assert [e.status for e in stopped.episodes] == ["aborted"]
    assert [e.status for e in other.episodes] == ["partner_left"]
    assert stopped.episodes[0].frames > 0
    assert other.episodes[0].frames > 0
    assert any(isinstance(event, PlayerGone) for event in bob.events)
    assert other.stored == {0}
    assert other.verdicts[0].verdict in ("partial", "verified")
    # What the one who left could not upload in its last moments waits on its disk.
    assert stopped.stored == {0} or len(list(ann.spool.pending())) == 1


@pytest.mark.parametrize("on_disconnect", ["end", "continue"])
async def test_whoever_is_gone_for_the_server_learns_it(tmp_path: Path, on_disconnect: str) -> None:
    """Its seat was given up while it was not scheduled, say."""
    wanted = settings(tmp_path / "data", frame_limit=100_000, upload_grace=2.0, on_disconnect=on_disconnect)
    async with running(wanted) as server:
        ann, bob = Bot(server.url, tmp_path, "ann"), Bot(server.url, tmp_path, "bob")
        playing = [asyncio.create_task(bot.play()) for bot in (ann, bob)]
        await asyncio.gather(ann.until_it_plays(), bob.until_it_plays())
        (match,) = server.server.matches.live
        player = match.row.participants.index("ann")
        await server.server.matches.departures.leave(match, player, "silent for too long")
        dropped = await playing[0]
        if on_disconnect == "continue":
            await bob.until_it_plays()
            bob.stop.set()
        await playing[1]
    assert (dropped.lost, dropped.reason) == (GONE, "dropped")
    assert [e.status for e in dropped.episodes] == ["partner_silent"]
    assert dropped.episodes[0].frames > 0


async def test_a_server_that_dies_loses_nothing(tmp_path: Path) -> None:
    data = settings(tmp_path / "data", frame_limit=100_000)
    bots = [Bot("", tmp_path, name) for name in ("ann", "bob")]
    async with running(data) as server:
        port = server.port
        for bot in bots:
            bot.url = server.url
        playing = [asyncio.create_task(bot.play()) for bot in bots]
        await asyncio.gather(*(bot.until_it_plays() for bot in bots))
        for bot in bots:
            bot.stop.set()  # while the server goes down
    results = await asyncio.gather(*playing)
    assert all(result.episodes[0].frames > 0 for result in results)
    before = sum(len(list(bot.spool.pending())) for bot in bots)
    assert before + sum(len(result.stored) for result in results) == 2

    async with running(settings(tmp_path / "data"), port=port) as server:
        # A later match of the same clients takes up what was left.
        again = [Bot(server.url, tmp_path, bot.name) for bot in bots]
        finished = await asyncio.gather(*(bot.play() for bot in again))
        assert all(result.stored == {0, 1} for result in finished)
        shown = await status(server.server)
    assert all(list(bot.spool.pending()) == [] for bot in again)
    assert all(bot.spool.refused() == [] for bot in again)
    old = [e for bot in again for e in bot.events if isinstance(e, Stored) and e.parcel.match == results[0].match]
    assert len(old) == before
    assert shown["verdicts"]["verified"] >= 2


async def test_an_annulled_pairing_leads_back_to_the_queue(server: Running, tmp_path: Path) -> None:
    ann = Bot(server.url, tmp_path, "ann")
    async with Client(server.url) as lost:
        await lost.join()
        playing = asyncio.create_task(ann.play())
        await ann.until(lambda event: isinstance(event, Paired))
        await lost.expect(MatchStart)
        await lost.kill()  # it never opens the relay
        await ann.until(lambda event: isinstance(event, MatchOver))
    bob = Bot(server.url, tmp_path, "bob")
    results = await asyncio.gather(playing, bob.play())
    pairings = [event.match for event in ann.events if isinstance(event, Paired)]
    assert len(pairings) == 2
    assert {result.match for result in results} == {pairings[1]}
    for result in results:
        assert [e.status for e in result.episodes] == ["complete", "complete"]
        assert {v.verdict for v in result.verdicts.values()} == {"verified"}


async def test_another_game_is_refused_by_its_first_differing_field(server: Running, tmp_path: Path) -> None:
    with pytest.raises(JoinRefused) as refused:
        await Bot(server.url, tmp_path, "ann", game="pong").play()
    assert refused.value.field == "game.id"
    assert (refused.value.actual, refused.value.expected) == ("pong", "drift")


async def test_a_client_stopped_while_it_waits_leaves_the_queue(server: Running, tmp_path: Path) -> None:
    ann = Bot(server.url, tmp_path, "ann")
    playing = asyncio.create_task(ann.play())
    await ann.until(lambda event: isinstance(event, Joined))
    assert server.server.matchmaker.desks[0].lobby.waiting == 1
    ann.stop.set()
    result = await playing
    assert (result.match, result.stopped, result.episodes) == (None, True, [])
    assert server.server.matchmaker.desks[0].lobby.waiting == 0


async def test_a_server_that_stops_while_clients_wait_is_reported(tmp_path: Path) -> None:
    async with running(settings(tmp_path / "data")) as server:
        ann = Bot(server.url, tmp_path, "ann")
        playing = asyncio.create_task(ann.play())
        await ann.until(lambda event: isinstance(event, Joined))
    with pytest.raises(ConnectionLost):
        await playing


async def test_what_the_users_callback_raises_comes_out_of_play(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = Bot(server.url, tmp_path, "ann"), Bot(server.url, tmp_path, "bob")

    def fail(event: Any) -> None:
        if isinstance(event, EpisodeEnded):
            raise ZeroDivisionError("mine")

    monkeypatch.setattr(ann, "heard", fail)
    failed, other = await asyncio.gather(ann.play(), bob.play(), return_exceptions=True)
    assert isinstance(failed, ZeroDivisionError)
    assert isinstance(other, PlayResult)
    assert other.episodes
