"""The main job: a server and one peer for each seat, as processes of their own, play an experiment to its end."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rollgym.config.file import ExperimentFile
from rollgym.dataset.sources import sources
from rollgym.games.description import DEADLINE
from rollgym.processes.stop_signals import stop_on_signals
from rollgym.protocol.messages import ANNULLED, COMPLETE
from rollgym.running.subprocesses import Child, Event, end_all
from rollgym.running.totals import together, totals

READY_WITHIN = DEADLINE + 60.0
"""Seconds a process has to come up: imports on a busy machine, and the time that a game has to be made."""

SERVER_ENDS_WITHIN = 15.0
"""Seconds the server has to end by itself after the last peer."""

PEERS_STOP_WITHIN = 10.0
"""Seconds after Ctrl-C. First the peers stop, so that their uploads find a server. A peer takes 0.3, or up to 1.4 if
the server does not answer, or up to seven if its game hangs (:data:`~rollgym.client_sim.client.match.KILL_AFTER`).
Ended before that, it would lose what it has played."""

ERRORS_SHOWN = 4
"""Errors of the server that the summary repeats; its log has all."""

SERVER_STOPS_WITHIN = 1.5
"""Seconds for a server that should have ended by itself, or has to. What it acknowledged is on its disk."""


class StartError(Exception):
    """Nothing was played: a process could not start. The text is for people."""


@dataclass(frozen=True)
class RunFolder:
    """Where one run keeps what is not the dataset: ``DATA/runs/<time>-<name>``."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def spool(self) -> Path:
        return self.root / "spool"


@dataclass
class Outcome:
    """What became of a run."""

    wanted: int
    """Episodes that were to be played."""
    verdicts: dict[int, str] = field(default_factory=dict)
    details: dict[int, str] = field(default_factory=dict)
    stored: dict[int, int] = field(default_factory=dict)
    """Frames of the episodes whose verdict was read from the dataset."""
    match: str | None = None
    peers: list[Event | None] = field(default_factory=list)
    """Each peer's last word, if it had one."""
    over: str | None = None
    """Why the server closed the match, if it did before every episode was verified."""
    failures: list[str] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def verified(self) -> bool:
        """Every episode was played and is verified."""
        return not self.failures and [self.verdicts.get(n) for n in range(self.wanted)] == ["verified"] * self.wanted

    def statistics(self) -> dict[str, Any]:
        """Counters of all peers together, and of each."""
        words = [word for word in self.peers if word is not None]
        each = [totals(episode["stats"] for episode in word["episodes"]) for word in words]
        busy = sum(word["stats"].get("runtime", {}).get("busy", 0.0) for word in words)
        frames = sum(peer["frames"] for peer in each)
        shares = [word["engine_share"] for word in words if word["engine_share"] is not None]
        return {
            **together(each),
            "desyncs": sum(word["desyncs"] for word in words),
            "engine_share": sum(shares) / len(shares) if shares else None,
            "work_per_frame": busy / frames if frames else None,
            "peers": each,
        }

    def frames(self) -> dict[int, int]:
        """Frames of each episode: the most that a peer has, or that is stored."""
        found = dict(self.stored)
        for word in self.peers:
            for episode in word["episodes"] if word is not None else ():
                found[episode["episode"]] = max(found.get(episode["episode"], 0), episode["frames"])
        return found

    def read_verdicts(self, data: Path) -> None:
        """Take what the peers did not live to hear from the dataset in ``data``, once its server has ended.

        Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError` for a file that cannot be read.
        """
        if self.match is None:
            return
        folder = data / "episodes" / self.match
        for source in sources(folder) if folder.is_dir() else ():
            number, verdict = source.layout.header.episode, source.verdict
            if verdict is None:
                continue
            self.stored[number] = max(self.stored.get(number, 0), source.layout.header.frames)
            # Of what a peer has heard, the files may know better: a later upload is judged again.
            self.verdicts[number] = verdict
            detail = source.layout.extra.get("verdict_detail", "")
            if detail:
                self.details[number] = detail
            else:
                self.details.pop(number, None)

    def exports(self) -> list[list[str]]:
        """The exports that the peers kept, by episode."""
        kept = sorted(path for word in self.peers if word is not None for path in word["kept"])
        groups: dict[str, list[str]] = {}
        for path in kept:
            groups.setdefault(path.rsplit(".player_", 1)[0], []).append(path)
        return [groups[key] for key in sorted(groups)]


def make_run_folder(data: Path, name: str, config: Path) -> RunFolder:
    """A new folder with a copy of the experiment file. Raises ``OSError`` if the disk refuses."""
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:40].strip("-") or "run"
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{slug}"
    runs = data / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        folder = RunFolder(runs / (stem if number == 1 else f"{stem}-{number}"))
        try:
            folder.root.mkdir()
        except FileExistsError:
            continue
        for part in (folder.logs, folder.exports, folder.spool):
            part.mkdir()
        shutil.copyfile(config, folder.config)
        return folder
    raise FileExistsError(f"{runs / stem}: taken")


async def run_experiment(
    file: ExperimentFile, seats: int, folder: RunFolder, overrides: list[str], on_event: Callable[[int, Event], None]
) -> Outcome:
    """Play ``file`` (its copy in ``folder``) with ``seats`` peers and return what became of it.

    ``overrides`` are further arguments of ``rollgym serve``. ``on_event`` gets the seat and each event of its peer.
    SIGINT and SIGTERM end the run early and well. Raises :class:`StartError` if nothing could be started.
    """
    outcome = Outcome(file.experiment.play.episodes)
    began = time.monotonic()
    outcome.peers = [None] * seats
    children: list[Child] = []

    def heard(seat: int, event: Event) -> None:
        _take(outcome, seat, event)
        on_event(seat, event)

    stop = asyncio.Event()
    with stop_on_signals(stop):
        play = asyncio.create_task(_play(folder, overrides, seats, children, heard))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((play, stopped), return_when=asyncio.FIRST_COMPLETED)
            if play.done():
                outcome.failures += await play
            else:
                outcome.interrupted = True
                outcome.failures.append("interrupted")
                await end_all(children[1:], PEERS_STOP_WITHIN)
                await end_all(children[:1], SERVER_STOPS_WITHIN)
            if not outcome.interrupted:
                outcome.failures += what_the_server_says(outcome, folder.logs / "server.jsonl")
        finally:
            for task in (play, stopped):
                task.cancel()
            await asyncio.gather(play, stopped, return_exceptions=True)
            for child in children:
                await child.kill()
    outcome.seconds = time.monotonic() - began
    return outcome


def _take(outcome: Outcome, seat: int, event: Event) -> None:
    if event["event"] == "verdict":
        outcome.verdicts[event["episode"]] = event["verdict"]
        if event["detail"]:
            outcome.details[event["episode"]] = event["detail"]
    elif event["event"] == "paired":
        outcome.match = event["match"]
    elif event["event"] == "finished":
        outcome.peers[seat] = event
        if event["failure"] is not None:
            outcome.failures.append(f"peer {seat}: {event['failure']}")
        outcome.failures += [f"peer {seat}: upload refused: {reason}" for reason in event["refused"]]
        if event["pending"]:
            outcome.failures.append(f"peer {seat}: the server has not acknowledged {event['pending']} of its exports")
    elif event["event"] == "match_over" and event["reason"] not in (COMPLETE, ANNULLED):
        outcome.over = event["reason"]
    elif event["event"] == "failed":
        outcome.failures.append(f"peer {seat}: {event['message']}")
    elif event["event"] == "desync_found":
        outcome.failures.append(f"peer {seat}: states differ at frame {event['frame']} of episode {event['episode']}")


def what_the_server_says(outcome: Outcome, log: Path) -> list[str]:
    """Why episodes are not verified, as far as the server's own word and the errors in its log say."""
    if outcome.verified:
        return []
    said = [] if outcome.over is None else [f"the server: {outcome.over}"]
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # printed, not logged
        if isinstance(entry, dict) and entry.get("level") in ("error", "critical"):
            reason = next((entry[key] for key in ("reason", "error", "detail", "exception") if entry.get(key)), "")
            said.append(f"the server: {entry.get('event')}: {reason}".rstrip(": "))
    return list(dict.fromkeys(said))[:ERRORS_SHOWN]


async def _play(
    folder: RunFolder,
    overrides: list[str],
    seats: int,
    children: list[Child],
    heard: Callable[[int, Event], None],
) -> list[str]:
    """Start everything and wait for its end. Returns what went wrong in words."""
    arguments = ["serve", str(folder.config), "--once", *overrides]
    server = await Child.start("server", arguments, folder.logs / "server.jsonl")
    children.append(server)
    for seat in range(seats):

        def on_event(event: Event, seat: int = seat) -> None:
            heard(seat, event)

        arguments = ["play", "--url", "(told when the server is ready)", "--config", str(folder.config)]
        arguments += ["--seat", str(seat), "--keep", str(folder.exports), "--spool", str(folder.spool)]
        children.append(await Child.start(f"peer {seat}", arguments, folder.logs / f"peer_{seat}.jsonl", on_event))
    url = (await _first(server, "ready", folder))["url"]
    for peer in children[1:]:
        # One after the other: who joins first plays the first seat, and the bots are given by seat.
        peer.tell(url)
        await _first(peer, "joined", folder)
    failures = []
    for seat, peer in enumerate(children[1:]):
        code = await peer.ended()
        if await peer.event("finished") is None and await peer.event("failed") is None:
            failures.append(f"peer {seat} ended with code {code}: see {folder.logs / f'peer_{seat}.jsonl'}")
    try:
        async with asyncio.timeout(SERVER_ENDS_WITHIN):
            code = await server.ended()
        if code != 0:
            failures.append(f"the server ended with code {code}: see {folder.logs / 'server.jsonl'}")
    except TimeoutError:
        await end_all([server], SERVER_STOPS_WITHIN)
        failures.append(f"the server did not end by itself: see {folder.logs / 'server.jsonl'}")
    return failures


async def _first(child: Child, name: str, folder: RunFolder) -> Event:
    """The event that says that ``child`` is up. Raises :class:`StartError` with the reason it gave."""
    try:
        async with asyncio.timeout(READY_WITHIN):
            event = await child.event(name)
            if event is not None:
                return event
            code = await child.ended()
    except TimeoutError:
        raise StartError(f"the {child.name} was not ready within {READY_WITHIN:.0f} s: see {folder.logs}") from None
    for last_word in ("error", "failed"):
        event = await child.event(last_word)
        if event is not None:
            raise StartError(f"the {child.name} cannot start: {event['message']}")
    raise StartError(f"the {child.name} ended with code {code} before it was ready: see {folder.logs}")
