"""Headless bot clients: one match each, against a running server. This process serves their connections."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rollgym.client_sim.backoff import Backoff
from rollgym.client_sim.client.client import BotPlayer, play
from rollgym.client_sim.client.control_errors import ConnectionLost, ControlError, ServerUnreachable
from rollgym.client_sim.client.results import ClientEvent, Joined, PlayResult, Progress
from rollgym.client_sim.exports.upload import Refused, Stored
from rollgym.client_sim.network_model import Link
from rollgym.client_sim.player.process import PlayerFailed
from rollgym.processes.stop_signals import stop_on_signals
from rollgym.running.uploads import upload_left

PROGRESS_EVERY = 0.25
"""Seconds between progress events: often enough to look alive."""

BACKOFF_FIRST, BACKOFF_MOST = 0.5, 10.0
"""Seconds between two looks whether a server is back."""

STARTING = 8
"""Bots that make their games at a time: a thousand interpreters that start at once would only make each other late."""


class ServerUnknownError(Exception):
    """What answers at the URL does not say what it plays."""


@dataclasses.dataclass(frozen=True)
class Returning:
    """The server was lost; the client comes back when it is there again."""

    reason: str


BotEvent = ClientEvent | Returning


class Client(NamedTuple):
    """One bot client."""

    participant: str | None
    bot: BotPlayer
    network_seed: int


class Finished(NamedTuple):
    """What became of one client."""

    result: PlayResult
    error: Exception | None = None
    """What kept it from playing, if something did. A match that went wrong is in the result."""

    @property
    def failure(self) -> str | None:
        """Why it did not play to the end, in words."""
        if self.error is not None:
            return str(self.error) or type(self.error).__name__
        if self.result.failure is not None:
            return self.result.failure
        return None if self.result.lost is None else f"relay lost: {self.result.lost}"

    @property
    def is_played(self) -> bool:
        """Every episode of its match is complete."""
        complete = sum(episode.status == "complete" for episode in self.result.episodes)
        return 0 < self.result.wanted == complete

    @property
    def server_lost(self) -> str | None:
        """Why the server was lost before it had and judged everything, if it was."""
        if isinstance(self.error, ServerUnreachable | ConnectionLost):
            return str(self.error)
        if self.result.failure is not None:
            return None
        if self.result.lost is not None and not self.is_played:
            return self.result.lost
        if len(self.result.verdicts) == self.result.wanted > 0:
            return None
        return self.result.server_lost or self.result.lost

    @property
    def engine_share(self) -> float | None:
        """Share of its ticks that was spent neither in the game nor in the bot. None: it had no tick."""
        runtime = self.result.stats.get("runtime", {})
        busy = float(runtime.get("busy", 0.0))
        return min(1.0, max(0.0, 1.0 - runtime.get("game_and_bot", 0.0) / busy)) if busy > 0 else None


def game_of_server(url: str, within: float | None = 0.0) -> tuple[str, dict[str, Any]]:
    """Name and parameters of the game that the server at ``url`` plays. Raises :class:`ServerUnknownError`.

    ``within``: seconds to go on asking while nobody answers; None: for ever.
    """
    backoff, left = Backoff(BACKOFF_FIRST, BACKOFF_MOST), _time_left(within)
    while True:
        try:
            return _ask(url)
        except ServerUnknownError:
            pause = backoff.next_within(left())
            if pause is None:
                raise
            time.sleep(pause)


def _ask(url: str) -> tuple[str, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/status", timeout=5) as reply:  # noqa: S310 - the user's own URL
            game = json.loads(reply.read(1 << 20))["game"]
        return str(game["id"]), dict(game["parameters"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ServerUnknownError(f"no rollgym server answers at {url}: {reason}") from error


async def run_clients(
    url: str | Callable[[], Coroutine[Any, Any, str]],
    clients: Sequence[Client],
    *,
    network: Link,
    spool: Path,
    keep: Path | None,
    said: Mapping[str, str],
    on_event: Callable[[int, BotEvent], None],
    wait: float | None = None,
    reconnect: bool = False,
) -> list[Finished]:
    """Let all clients play, each its own match, until they are done or told to stop by a signal.

    ``said`` is known of the experiment: kept files repeat it. ``on_event`` gets the client's index and its event;
    what it raises is raised. A client that fails ends alone. With ``reconnect`` one that loses the server plays another
    match when it is there again within ``wait`` seconds, or brings what it has. For the rest see
    :func:`rollgym.client_sim.client.client.play`.
    """
    stop = asyncio.Event()
    starting = asyncio.Semaphore(STARTING)

    async def once(index: int, client: Client) -> Finished:
        await starting.acquire()
        holds_start = True

        def started() -> None:
            nonlocal holds_start
            if holds_start:
                starting.release()
            holds_start = False

        def heard(event: ClientEvent) -> None:
            if isinstance(event, Joined):
                started()
            on_event(index, event)

        try:
            return Finished(
                await play(
                    url,
                    client.bot,
                    spool=spool,
                    participant=client.participant,
                    network=network,
                    network_seed=client.network_seed,
                    keep=keep,
                    keep_said=said,
                    on_event=heard,
                    progress_every=PROGRESS_EVERY,
                    wait=wait,
                    stop=stop,
                )
            )
        except (ControlError, PlayerFailed) as error:
            return Finished(PlayResult(), error)
        finally:
            started()

    async def one(index: int, client: Client) -> Finished:
        try:
            while True:
                finished = await once(index, client)
                reason = finished.server_lost
                if reason is None or not reconnect or not isinstance(url, str) or stop.is_set():
                    return finished
                on_event(index, Returning(reason))
                if not await _is_back(url, wait, stop):
                    return finished
                if finished.is_played:
                    brought = await upload_left(spool, url)
                    return finished._replace(result=dataclasses.replace(finished.result, pending=brought.waiting))
        except BaseException:
            stop.set()  # a disk that takes nothing, or a mistake of ours: the others' exports are safe, and they stop
            raise

    with stop_on_signals(stop):
        running = [asyncio.create_task(one(index, client)) for index, client in enumerate(clients)]
        done = await asyncio.gather(*running, return_exceptions=True)
    for outcome in done:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in done if isinstance(outcome, Finished)]


def _time_left(within: float | None) -> Callable[[], float]:
    """Gives the seconds that are left of ``within``; None: infinitely many."""
    end = math.inf if within is None else time.monotonic() + within
    return lambda: end - time.monotonic()


async def _is_back(url: str, within: float | None, stop: asyncio.Event) -> bool:
    """Wait until a server answers, for at most ``within`` seconds, or until told to stop."""
    backoff, left = Backoff(BACKOFF_FIRST, BACKOFF_MOST), _time_left(within)
    while not stop.is_set():
        try:
            await asyncio.to_thread(_ask, url)
            return True
        except ServerUnknownError:
            pause = backoff.next_within(left())
        if pause is None:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
    return False


def describe(event: BotEvent) -> tuple[str, dict[str, Any]]:
    """An event as a name and plain fields."""
    kind = type(event)
    name = "".join("_" + c.lower() if c.isupper() else c for c in kind.__name__).lstrip("_")
    if isinstance(event, Stored | Refused):
        parcel = event.parcel
        reason = {"reason": event.reason} if isinstance(event, Refused) else {}
        return name, {"match": parcel.match, "episode": parcel.episode, "player": parcel.player, **reason}
    if isinstance(event, Progress):
        return name, {**event.stats["peer"], "busy_share": event.stats["runtime"]["busy_share"]}
    if isinstance(event, msgspec.Struct):
        return name, msgspec.to_builtins(event)
    return name, dataclasses.asdict(event)


def summary_of(finished: Finished) -> dict[str, Any]:
    """A client's end as plain fields."""
    result = finished.result
    return {
        "participant": result.participant,
        "match": result.match,
        "player": result.player,
        "reason": result.reason,
        "failure": finished.failure,
        "stopped": result.stopped,
        "resumes": result.resumes,
        "episodes": [
            {
                "episode": e.episode,
                "status": e.status,
                "frames": e.frames,
                "unconfirmed": e.unconfirmed,
                "stats": e.stats,
            }
            for e in result.episodes
        ],
        "desyncs": len(result.desyncs),
        "verdicts": {str(n): v.verdict for n, v in sorted(result.verdicts.items())},
        "details": {str(n): v.detail for n, v in sorted(result.verdicts.items()) if v.detail},
        "stored": sorted(result.stored),
        "refused": [refused.reason for refused in result.refused],
        "pending": result.pending,
        "kept": sorted(map(str, result.kept)),
        "engine_share": finished.engine_share,
        "stats": result.stats,
    }
