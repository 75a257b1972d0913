"""SIGKILL of a peer, of the server, of both, at random moments of a run of matches; then everything is started again.

Whatever the server has acknowledged is there at every moment after, bit for bit; what it has not is there whole or not
at all; catalogue and files agree; nobody waits for ever.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rollgym.client_sim.exports.spool import pack
from rollgym.client_sim.exports.upload import Stored, UploadResult
from rollgym.running.uploads import upload_left
from rollgym.server.record.verdicts import load_upload
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.rows import UploadRow
from rollgym.server.upkeep.consistency import Content, inspect
from tests.e2e.processes import WAIT, Process, ending, start_server
from tests.patience import PATIENCE

MOMENTS = 50 if os.environ.get("ROLLGYM_SOAK") else 10
"""Kills in one run of the test. ``make soak`` plays all fifty."""

EPISODES = 4

PLACES = [
    ("paired", 0),
    *[(event, episode) for episode in range(EPISODES) for event in ("episode_started", "episode_ended", "verdict")],
]
"""What a peer tells of a match. A kill comes a little after one of these, on a slow machine as on a fast one."""

AND_THEN = 0.2
"""Seconds, at most, from there to the kill: an episode takes about 0.3."""

VICTIMS = [
    *("peer 0", "peer 1", "server", "server and peer 0", "server and peer 1", "both peers", "all"),
    *("game of 0", "game of 1"),
]
"""A peer is the client, whose player process notices and ends. A game is the player process alone."""

CONFIG = """
experiment:
  name: kills
  seed: 8
  game: {{id: drift}}
  upload_grace: 0.5
  play:
    episodes: {episodes}
    fps: 240
    frame_limit: 60
    input_delay: 1
    max_prediction: 16
    disconnect_timeout: 1.5
    start_timeout: 5
"""

Key = tuple[str, int, int]
"""Match, episode, player."""


@dataclass
class Run:
    """The processes of the present moment, and everything that was ever acknowledged."""

    folder: Path
    server: Process
    url: str = ""
    acknowledged: dict[Key, str] = field(default_factory=dict)
    """Digest of the compressed body, as the peer that had sent it logged it."""
    killed: dict[str, int] = field(default_factory=dict)
    peers: list[Process] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def spool(self, seat: int) -> Path:
        return self.folder / f"spool_{seat}"

    async def serve(self) -> None:
        """Start the server over the same folder, at the port that it had."""
        self.server = Process("server", self.folder)
        port = int(self.url.rsplit(":", 1)[1]) if self.url else 0
        self.url = await start_server(self.server, self.config, self.data, port)

    def note_acknowledgements(self) -> None:
        """Take over what the peers logged; a second acknowledgement says the same as the first."""
        for peer in self.peers:
            for line in peer.logged():
                if line["event"] == "upload acknowledged":
                    self.note((line["match"], line["episode"], line["player"]), line["digest"])

    def note(self, key: Key, digest: str) -> None:
        assert self.acknowledged.setdefault(key, digest) == digest

    async def check(self, *, after_kill: bool) -> Content:
        """Nobody uses the folder now: what was acknowledged is there as it was sent, and nothing is half there."""
        content = await inspect(self.data)
        problems = [problem for problem in content.problems if not (after_kill and problem.mended)]
        assert problems == []
        rows = {(row.match, row.episode, row.player): row for row in content.uploads}
        missing = [key for key in self.acknowledged if key not in rows]
        assert missing == []
        altered = [key for key, digest in self.acknowledged.items() if self.digest(rows[key]) != digest]
        assert altered == []
        return content

    def digest(self, row: UploadRow) -> str:
        """Of an upload as the server has it, packed as the peer did."""
        parcel, _ = pack(load_upload(FolderStore(self.data), row), "", "")
        return parcel.digest


async def launch(run: Run, moment: int) -> list[Process]:
    """A pair of peers for a moment; the spools are those of the pair before."""
    peers = [Process(f"moment_{moment:02d}_peer_{seat}", run.folder) for seat in (0, 1)]
    for seat, peer in enumerate(peers):
        await peer.start("play", "--url", "told", "--config", run.config, "--seat", seat, "--spool", run.spool(seat))
    return peers


async def comes_to(peer: Process, event: str, episode: int) -> None:
    """Until a peer is as far as that in its match, or has ended: on a busy machine one may think the other gone."""
    await peer.until(
        lambda: any(told.get("episode", 0) == episode for told in peer.told(event)) or not peer.child.running
    )


async def kill_at(run: Run, peers: list[Process], victims: str, rng: random.Random) -> None:
    """One moment: a match begins, somebody is killed, the others come to an end, the server is there again."""
    run.peers = peers
    for peer in peers:
        peer.child.tell(run.url)
        await peer.first("joined")
    place, delay = rng.choice(PLACES), rng.uniform(0.0, AND_THEN)
    for peer in peers:
        await peer.first("paired")
        await comes_to(peer, *place)
    # Not a wait for something: the seeded moment itself, at which real processes are killed.
    await asyncio.sleep(delay)
    run.killed[victims] = run.killed.get(victims, 0) + 1
    of_peers = [
        peer for seat, peer in enumerate(peers) if victims in ("all", "both peers") or f"peer {seat}" in victims
    ]
    of_server = [run.server] if victims == "all" or "server" in victims else []
    for process in (*of_peers, *of_server):
        process.signal(signal.SIGKILL)
    for seat, peer in enumerate(peers):
        if victims == f"game of {seat}":
            peer.signal_player(signal.SIGKILL)
    for process in (*of_peers, *of_server):
        await process.ended()
    run.note_acknowledgements()
    if of_server:
        await run.server.child.kill()  # and its workers, which end by themselves, but not at once
        await run.check(after_kill=True)
        await run.serve()
    for peer in peers:
        if peer not in of_peers:
            await survivor_ends(peer)
    run.note_acknowledgements()


async def survivor_ends(peer: Process) -> None:
    """It ends by itself; only one whose pairing was undone waits for a new partner, for as long as it is let."""
    end = asyncio.ensure_future(peer.ended())
    undone = asyncio.ensure_future(
        peer.until(lambda: any(event["reason"] == "annulled" for event in peer.told("match_over")))
    )
    await asyncio.wait((end, undone), return_when=asyncio.FIRST_COMPLETED)
    if not end.done():
        peer.signal(signal.SIGTERM)
    undone.cancel()
    await asyncio.gather(undone, return_exceptions=True)
    await end


async def status(url: str) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        with urllib.request.urlopen(f"{url}/status", timeout=PATIENCE) as reply:
            answer: dict[str, Any] = json.loads(reply.read())
        return answer

    return await asyncio.to_thread(ask)


async def bring_in_everything(run: Run) -> None:
    """What still waits in the spools is uploaded, every match comes to its end, and the server is stopped."""

    def heard(result: UploadResult) -> None:
        assert isinstance(result, Stored), result
        parcel = result.parcel
        run.note((parcel.match, parcel.episode, parcel.player), parcel.digest)

    for seat in (0, 1):
        brought = await upload_left(run.spool(seat), run.url, heard)
        assert (brought.refused, brought.waiting) == ([], 0)
    async with asyncio.timeout(WAIT):
        while (await status(run.url))["matches"]:  # noqa: ASYNC110 - a process of its own
            await asyncio.sleep(0.05)
    run.server.signal(signal.SIGTERM)
    assert await run.server.ended() == 0


@pytest.mark.timeout(600 + 30 * MOMENTS)
async def test_kills_lose_and_alter_nothing(tmp_path: Path) -> None:
    rng = random.Random(4)
    victims = VICTIMS * (1 + MOMENTS // len(VICTIMS))  # each in turn, in an order of its own
    rng.shuffle(victims)
    run = Run(tmp_path, Process("server", tmp_path))
    run.config.write_text(CONFIG.format(episodes=EPISODES))
    waiting: list[Process] = []
    everyone: list[Process] = []
    try:
        waiting = await launch(run, 0)
        everyone += waiting
        await run.serve()
        for moment in range(MOMENTS):
            peers, waiting = waiting, []
            if moment + 1 < MOMENTS:
                waiting = await launch(run, moment + 1)  # they import while the others play
                everyone += waiting
            await kill_at(run, peers, victims[moment], rng)
        await bring_in_everything(run)
        content = await run.check(after_kill=False)
    finally:
        async with ending(run.server, *everyone):
            pass
    report(run, content)
    check_that_it_was_worth_something(run, content, everyone)
    check_that_the_log_says_what_happened(run, content)


def report(run: Run, content: Content) -> None:
    verdicts: dict[str, int] = {}
    for row in content.episodes:
        verdicts[row.verdict] = verdicts.get(row.verdict, 0) + 1
    print(
        f"kills {run.killed}; {len(content.matches)} matches, verdicts {verdicts}, acknowledged {len(run.acknowledged)}"
    )


def check_that_it_was_worth_something(run: Run, content: Content, everyone: list[Process]) -> None:
    """Matches were really interrupted, and really played: else nothing was shown."""
    assert sum(run.killed.values()) == MOMENTS
    assert len(run.killed) >= 5
    verdicts = [row.verdict for row in content.episodes]
    assert "diverged" not in verdicts
    assert verdicts.count("verified") >= MOMENTS // 2
    assert {"single", "partial"} & set(verdicts), "no episode was interrupted"
    # A survivor's prefix arrives, and says what it is.
    flagged = [row for row in content.uploads if row.status in ("partner_left", "partner_silent", "aborted")]
    assert flagged
    assert all(row.frames < 60 for row in flagged)
    assert all(row.frames == 60 for row in content.uploads if row.status == "complete")
    assert set(run.acknowledged) <= {(row.match, row.episode, row.player) for row in content.uploads}
    assert len(everyone) == 2 * MOMENTS


def check_that_the_log_says_what_happened(run: Run, content: Content) -> None:
    lines = run.server.logged()
    # A kill may come between something and the line about it, once each time.
    server_kills = sum(times for who, times in run.killed.items() if "server" in who or who == "all")
    started = {line["match"] for line in lines if line["event"] == "match_started"}
    ended = {line["match"] for line in lines if line["event"] in ("match_over", "match_annulled")}
    assert len(started) >= MOMENTS - server_kills
    assert len(started - ended) <= server_kills
    assert any(line["event"] == "connection_lost" for line in lines)
    assert any(line["event"] == "player_left" for line in lines)
    told = {
        (line["match"], line["episode"], line["player"])
        for line in lines
        if line["event"] in ("upload_stored", "upload_finished")
    }
    assert len({(row.match, row.episode, row.player) for row in content.uploads} - told) <= server_kills
    assert [
        line for line in lines if line["event"] in ("orphan", "judge_failed", "upload_failed", "event_failed")
    ] == []
