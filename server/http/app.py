"""The server as an aiohttp application: all parts, put together and taken down in order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import structlog
from aiohttp import web

from rollgym.games.description import Description, described
from rollgym.games.errors import GameError
from rollgym.protocol.messages import GameIdentity, PlaySettings
from rollgym.protocol.version import PROTOCOL_VERSION
from rollgym.server.errors import RefusedError, ServerError
from rollgym.server.events.counting import counting
from rollgym.server.events.log_lines import write_line
from rollgym.server.events.stream import EventStream
from rollgym.server.feasible import bounded, problems
from rollgym.server.http.control import Control, ControlServer
from rollgym.server.http.descriptors import connections_that_fit
from rollgym.server.http.health import Parts, record_status
from rollgym.server.lobby.matchmaker import Reception
from rollgym.server.metrics import CONTENT_TYPE, Metrics
from rollgym.server.play.matches import Matches
from rollgym.server.play.openings import RELAY_PATH
from rollgym.server.play.relay import Relay
from rollgym.server.play.series import Series
from rollgym.server.play.signs import Signs
from rollgym.server.play.tickets import presented
from rollgym.server.record.ingest import Ingest
from rollgym.server.record.judging import Judging
from rollgym.server.record.workers import WorkerDiedError, WorkError, Workers, machine_memory
from rollgym.server.settings import ServerSettings
from rollgym.server.storage.catalogue import Catalogue
from rollgym.server.storage.errors import CatalogueError, refused_at_start
from rollgym.server.storage.record import Record, embedded
from rollgym.server.upkeep.recovery import Orphan, Recovery

_GOODBYE = 0.3
# Seconds in which a client can read that the server goes.

log = structlog.get_logger("server")


class Server:
    """The parts of a running server."""

    def __init__(
        self,
        settings: ServerSettings,
        description: Description | None = None,
        *,
        once: bool = False,
        record: Record | None = None,
    ) -> None:
        """``description``: of the experiment's game, if it is known already. Nothing is opened yet.

        ``once``: one match is played, however many the experiment asks for and has had. ``record``: where it is kept;
        None: in the data folder.
        """
        # Nothing that happens in this process later may move the data.
        self.settings = settings = settings.model_copy(update={"data": settings.data.absolute()})
        self._described = description
        self._once = once
        self.metrics = Metrics()
        self.events = EventStream()
        self.events.subscribe(write_line)
        self.events.subscribe(counting(self.metrics))
        self.record = record or embedded(settings.data)
        self.store = self.record.store
        memory = settings.worker_memory or machine_memory()
        # Two pools: however many episodes cannot be judged, uploads are checked.
        self.workers = Workers(settings.workers, seconds=settings.limits.upload_seconds, memory=memory)
        self.judges = Workers(settings.workers, seconds=settings.judge_seconds, memory=memory)
        self.sio = ControlServer(settings, self.events)
        self.control = Control(self.sio, self.events)
        self.orphans: list[Orphan] = []
        self.started_at = time.time()
        self.stopping = False
        self.description: Description
        self.game: GameIdentity
        self.play: PlaySettings
        self.catalogue: Catalogue
        self.matches: Matches
        self.reception: Reception
        self.ingest: Ingest
        self.relay: Relay

    async def start(self) -> None:
        """Find out about the game, open the data folder, finish what the last run left, and be ready for clients.

        Raises :class:`ServerError` for a game that cannot be made and for a data folder that cannot be used.
        """
        try:
            await self._start()
        except CatalogueError as error:
            raise refused_at_start(self.record.catalogue_place, error) from error

    async def _start(self) -> None:
        settings, limits = self.settings, self.settings.limits
        await self._describe()
        clock = asyncio.get_running_loop().time
        await asyncio.to_thread(self.store.open, limits.free_bytes)
        self.catalogue = await asyncio.to_thread(self.record.open_catalogue)
        try:
            await asyncio.gather(self.workers.start(), self.judges.start())
        except (WorkerDiedError, WorkError) as error:
            raise ServerError(f"worker processes: {error}") from error
        self.relay = Relay(
            self.metrics,
            packets_per_second=limits.relay_packets_per_second,
            buffer_bytes=limits.relay_buffer_bytes,
            clock=clock,
        )
        self.matches = Matches(
            settings.experiment,
            self.game,
            self.play,
            await self._series(),
            max_frames=self.play.frame_limit or limits.episode_frames,
            catalogue=self.catalogue,
            judging=Judging(
                store=self.store,
                catalogue=self.catalogue,
                workers=self.judges,
                events=self.events,
                own_game=settings.experiment.game.id,
                seconds=settings.judge_seconds,
                clock=clock,
            ),
            relay=self.relay,
            events=self.events,
            tell=self.control.tell,
            clock=clock,
        )
        self.ingest = Ingest(
            limits,
            store=self.store,
            catalogue=self.catalogue,
            workers=self.workers,
            matches=self.matches,
            events=self.events,
            clock=clock,
        )
        self.reception = Reception(
            self.game,
            self.matches,
            self.events,
            self.control.tell,
            self.control.drop,
            capacity=limits.waiting,
            join_seconds=limits.join_seconds,
        )
        recovery = Recovery(self.store, self.catalogue, self.workers, limits)
        grace = 0.0 if self._once else settings.experiment.upload_grace
        for row in await recovery.run():
            counts = row.ended is None and (row.experiment, row.condition) == self._name and not self._once
            await self.matches.revive(row, grace=grace, counts=counts)
        self.matches.look_whether_done()
        self.orphans = recovery.orphans
        self.metrics.orphans.set(len(self.orphans))
        self.control.serve(self.reception, self.matches.finish)

    async def check(self) -> None:
        """Find out about the game. Raises :class:`ServerError` if it cannot be played and recorded as configured."""
        await self._describe()
        play = self.settings.experiment.play.settings(self.description.fps)
        found = problems(self.description, play, self.settings.limits)
        if found:
            raise ServerError("\n".join(found))
        self.sio.most = connections_that_fit(self.settings, self.description.players)

    async def _describe(self) -> None:
        if hasattr(self, "description"):
            return
        game = self.settings.experiment.game
        try:
            self.description = self._described or await described(
                game.id, game.all_parameters(), on_output=lambda line: log.info("game_printed", text=line)
            )
        except GameError as error:
            raise ServerError("\n".join([str(error), *getattr(error, "__notes__", ())])) from error
        for warning in self.description.warnings:
            log.warning("game_warned", text=warning)
        self.game = self.description.game
        play = self.settings.experiment.play.settings(self.description.fps)
        self.play = bounded(play, self.settings.limits)
        if play.frame_limit is None and self.description.max_frames is None:
            # It may well end by itself: nobody knows before.
            log.info("game_says_no_end", game=self.game.id, truncated_at=self.play.frame_limit)

    @property
    def _name(self) -> tuple[str, str]:
        experiment = self.settings.experiment
        return experiment.name, experiment.condition

    async def _series(self) -> Series:
        earlier = await self.catalogue.progress(*self._name)
        if earlier.begun:
            log.info(
                "experiment_continued", begun=earlier.begun, over=earlier.over, wanted=self.settings.experiment.matches
            )
        if self._once:
            # What an earlier run left is ended with what there is: nobody waits for more of it here.
            return Series(earlier._replace(over=earlier.begun), earlier.begun + 1)
        return Series(earlier, self.settings.experiment.matches)

    async def say_goodbye(self) -> None:
        """Pair nobody any more and close all sockets, so that their handlers return."""
        self.stopping = True
        self.reception.close()
        grace = self.settings.grace
        await asyncio.gather(
            self.ingest.drain(grace),
            self.matches.drain(grace),
            self.relay.close_all(),
            self.sio.close_all(min(grace, _GOODBYE)),
        )

    async def stop(self) -> None:
        """Close what is on disk. Everything acknowledged is durable already."""
        await asyncio.gather(asyncio.to_thread(self.workers.close), asyncio.to_thread(self.judges.close))
        if hasattr(self, "catalogue"):
            await asyncio.to_thread(self.catalogue.close)
        self.store.close()

    def parts(self) -> Parts:
        """What it cannot do without."""
        return Parts(self.store, self.catalogue, self.workers, self.judges, self.settings.limits.free_bytes)

    async def status(self) -> dict[str, Any]:
        """What ``GET /status`` shows. No tickets, no addresses."""
        experiment = self.settings.experiment
        now = asyncio.get_running_loop().time()
        clock = time.time() - now
        return {
            "protocol": PROTOCOL_VERSION,
            "experiment": experiment.name,
            "condition": experiment.condition,
            "config_hash": experiment.digest(),
            "game": {"id": self.game.id, "version": self.game.version, "parameters": self.game.parameters},
            "uptime": round(time.time() - self.started_at, 3),
            "stopping": self.stopping,
            "waiting": self.reception.lobby.waiting,
            "matches_wanted": experiment.matches,
            "matches_begun": self.matches.series.begun,
            "matches_over": self.matches.series.over,
            "matches": [
                {
                    "match": match.row.id,
                    "phase": match.phase.value,
                    "participants": match.row.participants,
                    "players": [seat.state for seat in match.seats],
                    "waits_for": [
                        {"what": awaited.what, "player": awaited.player, "since": round(clock + awaited.since, 3)}
                        for awaited in match.awaits(now)
                    ],
                    "episodes": match.row.settings.episodes,
                    "uploads": sum(len(players) for players in match.uploads.values()),
                    "verdicts": {str(n): verdict.verdict for n, verdict in sorted(match.verdicts.items())},
                }
                for match in self.matches.live[:100]
            ],
            **await record_status(self.catalogue),
            "unrecorded": [
                {"match": match, "reason": reason} for match, reason in list(self.matches.unrecorded.items())[:100]
            ],
            "orphans": [{"kind": o.kind, "place": o.place, "detail": o.detail} for o in self.orphans[:100]],
            "data": str(self.settings.data),
            "free_bytes": await asyncio.to_thread(self.store.free_bytes),
        }


SERVER = web.AppKey("server", Server)


def create_app(
    settings: ServerSettings, description: Description | None = None, *, once: bool = False
) -> web.Application:
    """The application. Its parts are in ``app[SERVER]`` once it runs. Starting it raises :class:`ServerError`."""
    server = Server(settings, description, once=once)
    # Uploads are decompressed where they are bounded (body.py); here an encoding is refused with a plain text.
    app = web.Application(client_max_size=settings.limits.upload_bytes, handler_args={"auto_decompress": False})
    app[SERVER] = server
    server.sio.attach(app)
    app.router.add_get("/health", _health)
    app.router.add_get("/ready", _ready)
    app.router.add_get("/status", _status)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get(RELAY_PATH, _relay)
    app.router.add_put(r"/matches/{match}/episodes/{episode:[0-9]{1,7}}", _upload)
    app.cleanup_ctx.append(_run)
    app.on_shutdown.append(_goodbye)
    return app


async def _run(app: web.Application) -> AsyncIterator[None]:
    server = app[SERVER]
    try:
        await server.start()
        pairing = asyncio.create_task(server.reception.run())
        done = asyncio.create_task(_tell_when_done(server))
        yield
        for task in (pairing, done):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    finally:
        await server.stop()


async def _tell_when_done(server: Server) -> None:
    await server.matches.done.wait()
    server.reception.done()


async def _goodbye(app: web.Application) -> None:
    await app[SERVER].say_goodbye()


async def _health(request: web.Request) -> web.Response:
    """Whether the process is worth keeping: nothing that only a restart mends."""
    return _well(request.app[SERVER], request.app[SERVER].parts().lasting())


async def _ready(request: web.Request) -> web.Response:
    """Whether a match that began now could be played and recorded."""
    server = request.app[SERVER]
    return _well(server, await server.parts().present())


def _well(server: Server, found: dict[str, str]) -> web.Response:
    if server.stopping:
        found = {"server": "it is stopping", **found}
    if not found:
        return web.json_response({"ok": True})
    return web.json_response({"ok": False, "troubles": found}, status=503)


async def _status(request: web.Request) -> web.Response:
    return web.json_response(await request.app[SERVER].status())


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(body=request.app[SERVER].metrics.text(), headers={"Content-Type": CONTENT_TYPE})


async def _upload(request: web.Request) -> web.Response:
    server = request.app[SERVER]
    signs = _signs(server, request)
    if signs is None:
        return await server.ingest.put(request)
    stored = False
    signs.upload_begins()
    try:
        response = await server.ingest.put(request)
        stored = response.status == 200
        return response
    finally:
        signs.upload_ends(asyncio.get_running_loop().time(), stored=stored)


def _signs(server: Server, request: web.Request) -> Signs | None:
    """Where it is noted what is heard of the player whose upload it is; None if it plays no match now."""
    try:
        holder = server.matches.table.holder(presented(request))
    except RefusedError:
        return None  # which is said by whoever takes the upload in
    match = None if holder is None else server.matches.get(holder.match)
    return None if holder is None or match is None else match.seats[holder.player].signs


async def _relay(request: web.Request) -> web.StreamResponse:
    server = request.app[SERVER]
    try:
        holder = server.matches.table.holder(presented(request))
        if holder is None:
            raise RefusedError(401, "bad_ticket", "the ticket is not valid, or its match is over")
        match = server.matches.get(holder.match)
        if match is None or match.seats[holder.player].left_at is not None:
            raise RefusedError(403, "left", "this player has left the match")
    except RefusedError as error:
        server.metrics.refused.labels(error.code).inc()
        return web.json_response(error.acknowledgement(), status=error.status)
    return await server.relay.serve(
        request,
        holder.match,
        holder.player,
        players=len(match.seats),
        signs=match.seats[holder.player].signs,
        opened=lambda: server.matches.relay_opened(holder.match, holder.player),
    )
