"""One episode at one peer: the session, its recorder, the local policy, and the inputs others still lack."""

from __future__ import annotations

from typing import Any

from rollgym.client_sim.events import DesyncFound
from rollgym.client_sim.record.export import make_export
from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback.input_queue import IDLE
from rollgym.client_sim.rollback.session import Progress, Session, SessionSettings
from rollgym.games.contract import Game
from rollgym.games.policies import Policy
from rollgym.protocol.episode import Export, Header, Status
from rollgym.protocol.messages import GameIdentity, MatchStart
from rollgym.protocol.packets import idle_bitmap
from rollgym.protocol.seeds import episode_seed


def session_settings(start: MatchStart) -> SessionSettings:
    """The session's part of the match settings."""
    play = start.settings
    return SessionSettings(play.input_delay, play.max_prediction, play.save_every, play.checksum_interval)


class Episode:
    """Plays one episode for the local player. No clock, no packets: see ``rollgym.client_sim.peer``."""

    def __init__(
        self, start: MatchStart, game: Game, game_identity: GameIdentity, policy: Policy, number: int, now: float
    ) -> None:
        self.number = number
        self.seed = episode_seed(start.seed, number)
        self.began = now
        self.ticks = 0
        self.stalls = 0
        self.desyncs: list[DesyncFound] = []
        """Differences of states that were found in this episode."""
        self._start = start
        self._identity = game_identity
        self._game = game
        self._policy = policy
        self._encode = game.spec.input_codecs[start.player].encode
        infos = game.reset(self.seed)
        policy.reset(self.seed)
        self.recorder = EpisodeRecorder(game, infos, start.player)
        self.session = Session(
            game, game.spec.default_inputs, (start.player,), session_settings(start), recorder=self.recorder
        )
        self._queue = self.session.queues[start.player]
        self._idle = (game.spec.default_inputs[start.player],)
        self.last_input = -1
        """The last frame with a local input."""
        self._unsent: list[bytes] = []
        self._unsent_from = 0
        self._filled: set[int] = set()
        """Unsent frames whose input was filled in while the local player was away."""

    # -- play ----------------------------------------------------------------------------------------------------

    def settle(self, now: float) -> Progress:
        """Act on what has arrived."""
        self.recorder.clock(now - self.began)
        return self.session.settle()

    @property
    def complete(self) -> bool:
        """The frame that ended the episode is canonical."""
        last = self.session.terminal_frame
        return last is not None and self.session.canonical > last

    def step(self, now: float, rtt: float, advantage: float, *, away: bool = False) -> None:
        """Ask the policy and simulate the present frame. The session must be ready.

        ``away``: the frame belongs to a time when the local player was not there; it idles, and that is recorded.
        """
        self.recorder.tick(now - self.began, rtt, advantage)
        if away:
            self.session.step(self._idle, IDLE)
        else:
            self.session.step((self._decide(),) if self._undecided() else self._idle)
        self._take_sent()

    def register(self) -> None:
        """Lockstep: fix the input of a frame that can not be simulated before the others' inputs are here."""
        if self._undecided():
            self.session.register((self._decide(),))
            self._take_sent()

    def _undecided(self) -> bool:
        """No input was decided at the present frame yet: not in lockstep, not before a rollback came back to it."""
        session = self.session
        return self._queue.next <= session.current + session.delays[self._start.player]

    def _decide(self) -> bytes:
        frame = self.session.current
        return self._encode(self._policy.act(self.recorder.observe(frame), frame))

    def _take_sent(self) -> None:
        queue = self._queue
        for frame in range(self.last_input + 1, queue.next):
            self._unsent.append(queue.value(frame))
            if frame in queue.idle:
                self._filled.add(frame)
        self.last_input = queue.next - 1

    # -- what others still lack ----------------------------------------------------------------------------------

    def inputs_after(self, acked: int, most: int) -> tuple[int, tuple[bytes, ...], bytes]:
        """Local inputs after frame ``acked``: the first one's frame, at most ``most``, and their idle bitmap."""
        start = acked + 1
        at = start - self._unsent_from
        inputs = tuple(self._unsent[at : at + most])
        if not self._filled:
            return start, inputs, b""
        return start, inputs, idle_bitmap([start + i in self._filled for i in range(len(inputs))])

    def forget_inputs(self, acked: int) -> None:
        """Every other peer has the local inputs up to frame ``acked``."""
        cut = acked + 1 - self._unsent_from
        if cut > 256:
            del self._unsent[:cut]
            self._unsent_from += cut
            if self._filled:
                self._filled = {frame for frame in self._filled if frame >= self._unsent_from}

    # -- the end -------------------------------------------------------------------------------------------------

    def export(
        self, status: Status, now: float, wall: float, policy: dict[str, Any], software: dict[str, str]
    ) -> Export:
        """The export of what is canonical now. ``wall``: Unix seconds at ``now``."""
        frames = self.recorder.canonical.frames
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
            self.session,
            stats=self.statistics(now),
            policy=policy,
            software=software,
            started_at=wall - (now - self.began),
            ended_at=wall,
        )

    def statistics(self, now: float) -> dict[str, Any]:
        """Counters of this episode so far."""
        seconds = now - self.began
        stats = self.session.stats.as_dict()
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
            stalls=self.stalls,
            stall_share=self.stalls / self.ticks if self.ticks else 0.0,
            seconds=seconds,
            fps=self.session.canonical / seconds if seconds > 0 else 0.0,
        )
        return stats
