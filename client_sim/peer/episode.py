"""One episode at one peer, as a state machine: the only holder of its session, its recorder and its export.

====================  ==========================  ==============================================================
state                 allowed                     goes to
====================  ==========================  ==============================================================
playing               settle, step, register      playing, terminal, over, failed, aborted
terminal              settle                      the same: a rollback may take a guessed end away
over                                              failed (the last rows cannot be recorded)
failed                                            nowhere
aborted                                           failed (as above)
====================  ==========================  ==============================================================

In every state inputs of others may be taken in, local ones handed out (:attr:`Episode.unsent`), and
:meth:`Episode.export` gives what is canonical *and stored*: it never asks the game.

*Failed*: the game, the input source or the recorder raised. The live game may be halfway through anything, so the
session is never settled again; ``settle`` and ``step`` raise what it failed with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rollgym.client_sim.peer.episode_state import TRANSITIONS, EpisodeClosed, State
from rollgym.client_sim.peer.events import DesyncFound
from rollgym.client_sim.peer.input_source import InputSource
from rollgym.client_sim.peer.prediction_rules import checked
from rollgym.client_sim.peer.unsent_inputs import UnsentInputs
from rollgym.client_sim.record.export import make_export, make_tail
from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback.input_queue import IDLE
from rollgym.client_sim.rollback.interfaces import ActionCheck
from rollgym.client_sim.rollback.prediction.repeat_last import repeat_last
from rollgym.client_sim.rollback.prediction.rule import Predictor
from rollgym.client_sim.rollback.session import Session, SessionProgress
from rollgym.client_sim.rollback.settings import SessionSettings
from rollgym.games.contract import Game
from rollgym.games.spaces.codec import Codec, CodecError
from rollgym.protocol.episode.export import Export, Header, Status, Tail
from rollgym.protocol.messages import GameIdentity, MatchStart
from rollgym.protocol.seeds import episode_seed

# A member looked up in its Enum costs three times a name (before Python 3.12).
_PLAYING, _TERMINAL, _OVER, _FAILED, _ABORTED = State
_OPEN = (_PLAYING, _TERMINAL)
_READY, _STALLED, _WAITING, _DONE = SessionProgress

RecorderFactory = Callable[[Game, tuple[Mapping[str, Any], ...], int], EpisodeRecorder]
"""(game in its first state, infos of ``reset``, local player) -> recorder."""


def session_settings(start: MatchStart) -> SessionSettings:
    """The session's part of the match settings."""
    play = start.settings
    return SessionSettings(play.input_delay, play.max_prediction, play.save_every, play.checksum_interval)


def action_check(codec: Codec) -> ActionCheck:
    """Says what is wrong with bytes that are no action of a codec's space."""

    def check(value: bytes) -> str | None:
        try:
            codec.decode(value)
        except CodecError as error:
            return str(error)
        return None

    return check


class Episode:
    """Plays one episode for the local player. No clock, no packets: see ``rollgym.client_sim.peer.peer``.

    What ``reset`` of the game or the input source raises comes out of the constructor: there is no episode then.
    """

    def __init__(
        self,
        start: MatchStart,
        game: Game,
        game_identity: GameIdentity,
        inputs: InputSource,
        number: int,
        now: float,
        *,
        predictor: Predictor = repeat_last,
        recorder: RecorderFactory = EpisodeRecorder,
    ) -> None:
        self.number = number
        self.seed = episode_seed(start.seed, number)
        self.began = now
        self.ticks = 0
        self.desyncs: list[DesyncFound] = []
        """Differences of states that were found in this episode."""
        self._unreported: list[DesyncFound] = []
        self.state = _PLAYING
        self.failure: BaseException | None = None
        """What it failed with."""
        self.exported = False
        self._start = start
        self._identity = game_identity
        self._decide = inputs.decide
        infos = game.reset(self.seed)
        inputs.reset(self.seed)
        self.recorder = recorder(game, infos, start.player)
        actions = [action_check(codec) for codec in game.spec.input_codecs]
        self.session = Session(
            game,
            game.spec.default_inputs,
            (start.player,),
            session_settings(start),
            recorder=self.recorder,
            predictor=checked(predictor, actions),
            actions=actions,
            # Only whoever comes back from a time away fills inputs in.
            idle=start.settings.away == "play_on",
        )
        self._queue = self.session.queues[start.player]
        self._idle = (game.spec.default_inputs[start.player],)
        self.unsent = UnsentInputs(self._queue)
        """Local inputs that others may lack."""

    # -- states --------------------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Nothing more is played."""
        return self.state not in _OPEN

    def fail(self, error: BaseException) -> None:
        """Something around it raised ``error``: nothing is simulated any more. Stays what it is if it has ended."""
        if not self.ended:
            self._enter(_FAILED)
            self.failure = error

    def _enter(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise EpisodeClosed(f"the episode is {self.state.value}: it cannot become {state.value}")
        self.state = state

    def _refuse(self, call: str) -> None:
        if self.failure is not None:
            raise self.failure
        raise EpisodeClosed(f"{call} in an episode that is {self.state.value}")

    # -- play ----------------------------------------------------------------------------------------------------

    def settle(self, now: float) -> SessionProgress:
        """Act on everything that arrived; what is confirmed becomes canonical."""
        if self.state not in _OPEN:
            self._refuse("settle")
        self.recorder.clock(now - self.began)
        try:
            progress = self.session.settle()
        except BaseException as error:
            self._break(error)
            raise
        if self.session.checksums.found:
            self._note_desyncs()
        if progress is _READY or progress is _STALLED:
            self.state = _PLAYING
        else:
            self._enter(_OVER if progress is _DONE else _TERMINAL)
        return progress

    def _note_desyncs(self) -> None:
        for one in self.session.take_desyncs():
            found = DesyncFound(self.number, one.frame, one.player, f"{one.local:016x}", f"{one.remote:016x}")
            self.desyncs.append(found)
            self._unreported.append(found)

    def take_desyncs(self) -> list[DesyncFound]:
        """Differences of states found since the last call."""
        if not self._unreported:
            return []
        found, self._unreported = self._unreported, []
        return found

    @property
    def complete(self) -> bool:
        """The frame that ended the episode is canonical."""
        last = self.session.terminal_frame
        return last is not None and self.session.canonical > last

    def step(self, now: float, rtt: float, advantage: float, *, away: bool = False) -> None:
        """Ask for the local input and simulate the present frame. The session must be ready.

        ``away``: the frame belongs to a time when the local player was not there; it idles, and that is recorded.
        """
        if self.state is not _PLAYING:
            self._refuse("step")
        self.recorder.tick(now - self.began, rtt, advantage)
        try:
            if away:
                self.session.step(self._idle, IDLE)
            else:
                self.session.step((self._decided(),) if self._undecided() else self._idle)
        except BaseException as error:
            self._break(error)
            raise
        self.unsent.take()

    def register(self) -> None:
        """Lockstep: fix the input of a frame that cannot be simulated before the others' inputs are here."""
        if self.state is not _PLAYING:
            self._refuse("register")
        if self._undecided():
            try:
                self.session.register((self._decided(),))
            except BaseException as error:
                self._break(error)
                raise
            self.unsent.take()

    def _break(self, error: BaseException) -> None:
        self._enter(_FAILED)
        self.failure = error

    def _undecided(self) -> bool:
        """No input was decided at the present frame yet: not in lockstep, not before a rollback came back to it."""
        session = self.session
        return self._queue.next <= session.current + session.inputs.delays[self._start.player]

    def _decided(self) -> bytes:
        frame = self.session.current
        return self._decide(self.recorder.observe(frame), frame)

    # -- the end -------------------------------------------------------------------------------------------------

    def export(
        self,
        status: Status,
        now: float,
        wall: float,
        policy: dict[str, Any],
        software: dict[str, str],
        frames: int | None = None,
    ) -> Export:
        """The export of what is canonical and stored. ``wall``: Unix seconds at ``now``. Ends the episode.

        ``frames``: at most so many, where others may go on otherwise from there.

        If rows turn out to be none of the game's spaces, the episode has failed, and ends before the first of them.
        An episode that has failed has status ``error``, whatever ``status`` says.
        """
        if not self.ended:
            self._enter(_ABORTED)
        tail: Tail | None = None
        try:
            self.recorder.seal()
            tail = make_tail(self.recorder, self.session)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is kept, and raised by the peer's driver
            if self.failure is None:
                self._break(error)
            else:
                self.failure.add_note(f"the episode's last rows could not be recorded: {error!r}")
        if self.state is _FAILED:
            status = "error"
        self.exported = True
        stored = self.recorder.canonical.frames
        if frames is None or frames >= stored:
            frames = stored
        else:
            tail = None
        header = Header(
            match=self._start.match,
            episode=self.number,
            match_seed=self._start.seed,
            seed=self.seed,
            game=self._identity,
            settings=self._start.settings,
            participants=self._start.participants,
            frames=frames,
            status=status,
        )
        return make_export(
            header,
            self.recorder,
            tail,
            stats=self.statistics(now),
            policy=policy,
            software=software,
            started_at=wall - (now - self.began),
            ended_at=wall,
        )

    def statistics(self, now: float) -> dict[str, Any]:
        """Counters of this episode so far."""
        seconds = now - self.began
        counted = self.session.stats
        stats = counted.as_dict()
        checksums = self.session.checksums
        stats.update(
            checksums_compared=checksums.compared,
            checksums_matched=checksums.matched,
            confirmed_frames=self.session.canonical,
            desyncs=[
                {"frame": found.frame, "player": found.player, "local": found.local, "remote": found.remote}
                for found in self.desyncs
            ],
            ticks=self.ticks,
            stall_share=counted.stalls / self.ticks if self.ticks else 0.0,
            seconds=seconds,
            fps=self.session.canonical / seconds if seconds > 0 else 0.0,
        )
        return stats
