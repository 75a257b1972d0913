"""The server: all its parts, put together and taken down in order."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence

import structlog

from rollgym.games.description import Description, described
from rollgym.games.errors import GameError
from rollgym.processes.workers import WorkerDiedError, WorkError, Workers, machine_memory
from rollgym.protocol.messages import GameIdentity, PlaySettings
from rollgym.server.errors import ServerError
from rollgym.server.events.counting import counting
from rollgym.server.events.log_lines import write_line
from rollgym.server.events.stream import EventStream
from rollgym.server.feasible import bounded, problems
from rollgym.server.http.control import Control, ControlServer
from rollgym.server.http.descriptors import connections_that_fit
from rollgym.server.http.health import Parts
from rollgym.server.lobby.matchmaker import Matchmaker
from rollgym.server.metrics import Metrics
from rollgym.server.play.addresses import Addresses
from rollgym.server.play.experiment import RunningExperiment
from rollgym.server.play.matches import Matches
from rollgym.server.play.relay import Relay
from rollgym.server.play.series import Series
from rollgym.server.record.ingest import Ingest
from rollgym.server.record.judging import WORK, Judging
from rollgym.server.settings import Experiment, GameSettings, ServerSettings
from rollgym.server.storage.catalogue import Catalogue
from rollgym.server.storage.errors import CatalogueError, refused_at_start
from rollgym.server.storage.record import Record, embedded
from rollgym.server.storage.rows import MatchRow
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
        experiments: Sequence[Experiment] = (),
    ) -> None:
        """``description``: of the first experiment's game, if it is known already. Nothing is opened yet.

        ``once``: one match is played, however many the experiment asks for and has had. ``record``: where it is kept;
        None: in the data folder. ``experiments``: what is played, if it is not the one of the settings alone; each of
        another name or condition.
        """
        # Nothing that happens in this process later may move the data.
        self.settings = settings = settings.model_copy(update={"data": settings.data.absolute()})
        self.experiments = tuple(experiments) or (settings.experiment,)
        self._known = description
        self._once = once
        self.instance = secrets.token_hex(6)
        """Names this run of this process: the owner of its matches, in the catalogue."""
        self.descriptions: list[Description] = []
        """Of the experiments' games, in their order."""
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
        self.catalogue: Catalogue
        self.matches: Matches
        self.matchmaker: Matchmaker
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
            await asyncio.gather(self.workers.start(*WORK), self.judges.start(*WORK))
        except (WorkerDiedError, WorkError) as error:
            raise ServerError(f"worker processes: {error}") from error
        self.relay = Relay(
            self.metrics,
            packets_per_second=limits.relay_packets_per_second,
            buffer_bytes=limits.relay_buffer_bytes,
            clock=clock,
        )
        self.matches = Matches(
            [await self._running(experiment, n) for n, experiment in enumerate(self.experiments)],
            episode_frames=limits.episode_frames,
            catalogue=self.catalogue,
            judging=Judging(
                store=self.store,
                catalogue=self.catalogue,
                workers=self.judges,
                events=self.events,
                own_games=frozenset(experiment.game.id for experiment in self.experiments),
                seconds=settings.judge_seconds,
                clock=clock,
            ),
            relay=self.relay,
            events=self.events,
            tell=self.control.tell,
            clock=clock,
            addresses=Addresses(settings.public_url),
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
        self.matchmaker = Matchmaker(
            self.matches,
            self.events,
            self.control.tell,
            self.control.drop,
            capacity=limits.waiting,
            join_seconds=limits.join_seconds,
        )
        recovery = Recovery(self.store, self.catalogue, self.workers, limits)
        for row in await recovery.run():
            await self._take_up(row)
        self.matches.look_whether_done()
        self.orphans = recovery.orphans
        self.metrics.orphans.set(len(self.orphans))
        self.control.serve(self.matchmaker, self.matches)

    async def _running(self, experiment: Experiment, number: int) -> RunningExperiment:
        """An experiment with what the catalogue has of it."""
        game, play, limits = self._game(number), self._play(number), self.settings.limits
        earlier = await self.catalogue.progress(experiment.name, experiment.condition)
        if earlier.begun:
            log.info("experiment_continued", begun=earlier.begun, over=earlier.over, wanted=experiment.matches)
        if self._once:
            # What an earlier run left is ended with what there is: nobody waits for more of it here.
            series = Series(earlier._replace(over=earlier.begun), earlier.begun + 1)
        else:
            series = Series(earlier, experiment.matches)
        return RunningExperiment(experiment, game, play, series, limits.episode_frames, owner=self.instance)

    async def _take_up(self, row: MatchRow) -> None:
        """A match of an earlier run that waits for verdicts or was never ended."""
        own = [e for e in self.matches.experiments if e.name == (row.experiment, row.condition)]
        counts = bool(own) and row.ended is None and not self._once
        patient = own[0] if own else self.matches.experiments[0]
        grace = 0.0 if self._once else patient.settings.upload_grace
        await self.matches.revive(row, grace=grace, experiment=own[0] if counts else None)

    async def check(self) -> None:
        """Find out about the games. Raises :class:`ServerError` if one cannot be played and recorded as configured."""
        await self._describe()
        names = [(experiment.name, experiment.condition) for experiment in self.experiments]
        if len(set(names)) < len(names):
            raise ServerError("experiments: expected each to have another name or condition")
        for experiment, description in zip(self.experiments, self.descriptions, strict=True):
            found = problems(description, experiment.play.settings(description.fps), self.settings.limits)
            if found:
                raise ServerError("\n".join(found))
        self.sio.most = connections_that_fit(self.settings, max(found.players for found in self.descriptions))

    async def _describe(self) -> None:
        if self.descriptions:
            return
        self.descriptions = [
            await self._described(experiment.game, self._known if n == 0 else None)
            for n, experiment in enumerate(self.experiments)
        ]
        for n, description in enumerate(self.descriptions):
            play = self.experiments[n].play.settings(description.fps)
            if play.frame_limit is None and description.max_frames is None:
                # It may well end by itself: nobody knows before.
                log.info("game_says_no_end", game=description.game.id, truncated_at=self._play(n).frame_limit)

    async def _described(self, game: GameSettings, known: Description | None) -> Description:
        try:
            description = known or await described(
                game.id, game.all_parameters(), on_output=lambda line: log.info("game_printed", text=line)
            )
        except GameError as error:
            raise ServerError("\n".join([str(error), *getattr(error, "__notes__", ())])) from error
        for warning in description.warnings:
            log.warning("game_warned", text=warning)
        return description

    def _game(self, number: int) -> GameIdentity:
        return self.descriptions[number].game

    def _play(self, number: int) -> PlaySettings:
        """What is sent to the players of an experiment."""
        play = self.experiments[number].play.settings(self.descriptions[number].fps)
        return bounded(play, self.settings.limits)

    async def say_goodbye(self) -> None:
        """Pair nobody any more and close all sockets, so that their handlers return."""
        self.stopping = True
        self.matchmaker.close()
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
