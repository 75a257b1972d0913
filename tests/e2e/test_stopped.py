"""Peers, and the server, that are stopped (SIGSTOP) for seconds in a real match: nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from pathlib import Path

import numpy as np

from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.files.parquet import StoredEpisode, read_episode
from tests.e2e.processes import Process, ending, start_peer, start_server

FRAMES = 240
FPS = 60
EPISODES = 5
STOP = 2.8
"""Seconds: longer than the two after which the server takes a connection for dead; nearly an episode."""

CONFIG = """
experiment:
  name: stopped
  seed: 3
  game: {{id: drift}}
  play:
    episodes: {episodes}
    fps: {fps}
    frame_limit: {frames}
    input_delay: 1
    max_prediction: 8
    disconnect_timeout: 60
    away: {away}
    away_limit: 60
    start_timeout: 60
"""


class Stopped:
    """One match in which peers were stopped, and what became of it."""

    def __init__(self, folder: Path, server: Process, peers: list[Process]) -> None:
        self.folder = folder
        self.server = server
        self.peers = peers
        self.summaries = [peer.told("finished")[0] for peer in peers]

    def kept(self, episode: int, player: int) -> StoredEpisode:
        (path,) = self.folder.glob(f"keep/*/episode_{episode:03d}.player_{player}.parquet")
        return read_episode(path)

    def idle(self, episode: int, player: int) -> int:
        """Frames for which the player's input was filled in."""
        found = self.kept(episode, 0).canonical
        assert found is not None
        return int(np.sum(found.columns["input_source"].array()[:, player] == 1))

    def deepest(self, player: int, episode: int) -> int:
        stats = self.summaries[player]["episodes"][episode]["stats"]
        return int(stats["rollback_depth_max"])


def _reached(peer: Process, episode: int, frame: int) -> bool:
    return any((event["episode"], event["frame"]) >= (episode, frame) for event in peer.told("progress"))


async def stop_for(seconds: float, *peers: Process, client_only: bool = False) -> None:
    """Both processes of a peer, as when a machine sleeps; or the one that serves the network."""
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for peer in peers:
            peer.signal(number)
            if not client_only:
                peer.signal_player(number)
        if number is signal.SIGSTOP:
            await asyncio.sleep(seconds)


async def play(folder: Path, away: str) -> Stopped:
    """One peer is stopped, then the other, then both, then one across the boundary; then the server."""
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(away=away, episodes=EPISODES, fps=FPS, frames=FRAMES))
    server, one, two = (Process(name, folder) for name in ("server", "peer_0", "peer_1"))
    async with ending(server, one, two):
        url = await start_server(server, config, folder / "data", 0, "--once")
        for seat, peer in enumerate((one, two)):
            await start_peer(peer, config, seat, url, folder / f"spool_{seat}", folder / "keep")
            await peer.first("joined")

        async def frame(episode: int, number: int) -> None:
            for peer in (one, two):
                await peer.until(partial(_reached, peer, episode, number))

        await frame(0, 40)
        await stop_for(STOP, two)
        await frame(1, 40)
        await stop_for(STOP, one, client_only=True)
        await frame(2, 40)
        await stop_for(STOP, one, two)
        # In the last second of episode 3, until well after its end.
        await frame(3, FRAMES - 60)
        await stop_for(STOP, two)
        await frame(4, 40)
        await stop_for(STOP, server)
        for process in (one, two, server):
            assert await process.ended() == 0, process.log.read_text()[-3000:]
    return Stopped(folder, server, [one, two])


async def test_peers_that_are_stopped_for_seconds_lose_nothing(tmp_path: Path) -> None:
    """Two matches beside each other, most of whose time is waiting."""
    modes = ("stall", "play_on")
    folders = [tmp_path / away for away in modes]
    for folder in folders:
        folder.mkdir()
    waited, went_on = await asyncio.gather(*(play(folder, away) for folder, away in zip(folders, modes, strict=True)))
    for match in (waited, went_on):
        for summary in match.summaries:
            assert [(e["status"], e["frames"], e["unconfirmed"]) for e in summary["episodes"]] == [
                ("complete", FRAMES, 0)
            ] * EPISODES
            assert summary["verdicts"] == {str(n): "verified" for n in range(EPISODES)}
            assert (summary["reason"], summary["desyncs"], summary["pending"]) == ("finished", 0, 0)
        check_that_both_recorded_the_same(match)
        check_that_seats_were_taken_again(match)
    check_that_the_partner_waited(waited)
    check_that_the_partner_played_on(went_on)


def check_that_both_recorded_the_same(match: Stopped) -> None:
    for episode in range(EPISODES):
        first, second = match.kept(episode, 0), match.kept(episode, 1)
        assert first.canonical is not None
        assert second.canonical is not None
        assert compare_episodes((first.header, first.canonical), (second.header, second.canonical)) is None


def check_that_seats_were_taken_again(match: Stopped) -> None:
    """Every stop was longer than the two seconds after which a connection is cut, and nobody was told of one."""
    lost = [line["player"] for line in match.server.logged() if line["event"] == "connection_lost"]
    back = [line["player"] for line in match.server.logged() if line["event"] == "player_back"]
    assert sorted(lost) == sorted(back)
    assert set(back) == {0, 1}
    assert [summary["resumes"] > 0 for summary in match.summaries] == [True, True]
    assert not any(peer.told("peer_left") or peer.told("player_gone") for peer in match.peers)


def check_that_the_partner_waited(match: Stopped) -> None:
    for episode in range(EPISODES):
        for player in (0, 1):
            assert match.idle(episode, player) == 0
            assert match.deepest(player, episode) <= 8


def check_that_the_partner_played_on(match: Stopped) -> None:
    """2.8 s are 168 frames: what was missed of them is marked idle, and the partner's rollback is as long."""
    assert match.idle(0, 1) > 100
    assert match.idle(0, 0) == 0
    assert match.deepest(0, 0) > 100
    assert match.idle(1, 0) > 100
    assert match.idle(1, 1) == 0
    assert match.deepest(1, 1) > 100
    assert match.idle(3, 1) > 0  # up to the boundary, and not beyond it
    assert (match.idle(4, 0), match.idle(4, 1)) == (0, 0)  # both were here, only their packets were held up
