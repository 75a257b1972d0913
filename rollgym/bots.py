"""Headless bot clients in this process: one match each, against a running server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rollgym.client_sim.client import ClientEvent, PlayResult, Progress, play, stop_on_signals
from rollgym.client_sim.network import Link
from rollgym.client_sim.upload import Refused, Stored
from rollgym.config import Bot, default_policy
from rollgym.games.contract import Game, GameSpec
from rollgym.games.policies import Policy, make_policy, policy_origin
from rollgym.games.registry import make
from rollgym.timing import Stopwatch, TimedGame, TimedPolicy

PROGRESS_EVERY = 0.25
"""Seconds between progress events: often enough to look alive."""


class ServerUnknownError(Exception):
    """What answers at the URL does not say what it plays."""


class Client(NamedTuple):
    """One bot client."""

    participant: str | None
    bot: Bot
    network_seed: int


class Finished(NamedTuple):
    """What became of one client."""

    result: PlayResult
    engine_share: float | None
    """Share of its ticks that was spent neither in the game nor in the bot. None: it had no tick."""


def game_of_server(url: str) -> tuple[str, dict[str, Any]]:
    """Name and parameters of the game that the server at ``url`` plays. Raises :class:`ServerUnknownError`."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/status", timeout=5) as reply:  # noqa: S310 - the user's own URL
            game = json.loads(reply.read(1 << 20))["game"]
        return str(game["id"]), dict(game["parameters"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ServerUnknownError(f"no rollgym server answers at {url}: {reason}") from error


async def run_clients(
    url: str,
    clients: Sequence[Client],
    *,
    game_id: str,
    parameters: dict[str, Any],
    network: Link,
    spool: Path,
    keep: Path | None,
    said: Mapping[str, str],
    on_event: Callable[[int, ClientEvent], None],
) -> list[Finished]:
    """Let all clients play, each its own match, until they are done or told to stop by a signal.

    ``said`` is known of the experiment: kept files repeat it. ``on_event`` gets the client's index and its event.
    Raises what :func:`rollgym.client_sim.client.play` raises.
    """
    stop = asyncio.Event()

    async def one(index: int, client: Client) -> Finished:
        watch = Stopwatch()
        name = client.bot.policy or default_policy(game_id)

        def policy(spec: GameSpec, player: int) -> Policy:
            return TimedPolicy(_policy(client.bot, spec, player), watch)

        def game() -> Game:
            return TimedGame(make(game_id, parameters), watch)

        try:
            result = await play(
                url,
                game,
                policy,
                spool=spool,
                participant=client.participant,
                policy_info={
                    "name": name,
                    "parameters": client.bot.parameters,
                    "seed": client.bot.seed or 0,
                    **policy_origin(name, client.bot.parameters),
                    "network": {
                        "forward": network.forward.describe(),
                        "backward": network.backward.describe(),
                        "seed": client.network_seed,
                    },
                },
                network=network,
                network_seed=client.network_seed,
                keep=keep,
                keep_said=said,
                on_event=lambda event: on_event(index, event),
                progress_every=PROGRESS_EVERY,
                stop=stop,
            )
        except BaseException:
            stop.set()  # the others' exports are on disk; they need not go on for a run that has failed
            raise
        return Finished(result, _engine_share(result, watch))

    with stop_on_signals(stop):
        running = [asyncio.create_task(one(index, client)) for index, client in enumerate(clients)]
        done = await asyncio.gather(*running, return_exceptions=True)
    for outcome in done:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in done if isinstance(outcome, Finished)]


def _policy(bot: Bot, spec: GameSpec, player: int) -> Policy:
    return make_policy(bot.policy or default_policy(spec.id), spec, player, bot.seed or 0, **bot.parameters)


def _engine_share(result: PlayResult, watch: Stopwatch) -> float | None:
    busy = float(result.stats.get("runtime", {}).get("busy", 0.0))
    return min(1.0, max(0.0, 1.0 - watch.seconds / busy)) if busy > 0 else None


def describe(event: ClientEvent) -> tuple[str, dict[str, Any]]:
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
