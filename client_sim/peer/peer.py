"""The wire peer: plays a match with other peers over packets that may be lost, repeated, reordered and late.

A state machine without I/O and without a clock. Whoever drives it (``rollgym.client_sim.player.driver`` with sockets,
``rollgym.client_sim.simulator.simulator`` in virtual time) hands in packets and the time, and sends what
:meth:`Peer.poll` returns. Its phases are in :mod:`~rollgym.client_sim.peer.match_phases`;
``docs/architecture.md`` says what its parts are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from rollgym.client_sim.peer.disconnect_agreement import DisconnectAgreement
from rollgym.client_sim.peer.episode import Episode, RecorderFactory
from rollgym.client_sim.peer.events import PeerEvent
from rollgym.client_sim.peer.handover import Handover
from rollgym.client_sim.peer.input_sender import InputSender
from rollgym.client_sim.peer.input_source import InputSource
from rollgym.client_sim.peer.intake import LEAVE_GRACE, Intake
from rollgym.client_sim.peer.match_phases import MatchPhases
from rollgym.client_sim.peer.outbox import Outbox
from rollgym.client_sim.peer.phase import PeerPhase
from rollgym.client_sim.peer.remote_peer import RemotePeer, connection_totals
from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback.prediction.repeat_last import repeat_last
from rollgym.client_sim.rollback.prediction.rule import Predictor
from rollgym.games.contract import Game
from rollgym.games.frame_limit import limited
from rollgym.games.identity import identity
from rollgym.protocol.episode.export import Export
from rollgym.protocol.messages import MatchStart


class Peer:
    """One player's peer for one match.

    ``inputs`` decides what the local player does, ``predictor`` what others are taken to do until it is known, and
    ``recorder`` makes what each episode is written down by. ``now`` is monotonic seconds everywhere, ``wall`` Unix
    seconds at construction.

    What other peers send never raises. What the game, the input source, the prediction rule or the recorder raises ends
    the match here, as :attr:`failure`: what is canonical is exported with status ``error``, the others are told, and
    whoever drives the peer raises it when the peer is done.
    """

    def __init__(
        self,
        start: MatchStart,
        game: Game,
        inputs: InputSource,
        *,
        policy_info: dict[str, Any],
        software: dict[str, str],
        now: float,
        wall: float,
        predictor: Predictor = repeat_last,
        recorder: RecorderFactory = EpisodeRecorder,
    ) -> None:
        self.start = start
        self.player = start.player
        players = len(start.participants)
        self.remotes = {p: RemotePeer(p, players, now) for p in range(players) if p != start.player}
        self._others = tuple(self.remotes.values())
        known = identity(game.spec)
        codec = game.spec.input_codecs[start.player]
        played = limited(game, start.settings.frame_limit)
        self._outbox = Outbox()
        self._events: list[PeerEvent] = []
        self._departures = DisconnectAgreement(self._others, start.player, start.settings)
        self._intake = Intake(start, self.remotes, self._departures)
        self._handover = Handover(self._departures, self._events, policy_info, software, wall - now)
        self._match = MatchPhases(
            start.settings,
            partial(Episode, start, played, known, inputs, predictor=predictor, recorder=recorder),
            self._others,
            now,
            departures=self._departures,
            intake=self._intake,
            handover=self._handover,
            sender=InputSender(players, codec.width, self._others, self._departures, self._outbox),
            outbox=self._outbox,
            events=self._events,
        )

    @property
    def done(self) -> bool:
        """Nothing more will be sent or played."""
        return self._match.phase is PeerPhase.DONE

    @property
    def phase(self) -> PeerPhase:
        """Where it stands in its match."""
        return self._match.phase

    @property
    def failure(self) -> BaseException | None:
        """What the game or the policy raised. The driver raises it once the peer is done."""
        return self._match.failure

    @property
    def episode(self) -> Episode | None:
        """The present episode, or the last one."""
        return self._match.episode

    @property
    def stats(self) -> dict[str, Any]:
        """Present totals: finished episodes, and the counters of the running one."""
        match, outbox = self._match, self._outbox
        running = match.episode.statistics(match.pacing.next_tick) if match.episode is not None else {}
        frame = match.episode.session.current if match.episode is not None else 0
        sent = {"packets_sent": outbox.packets_sent, "bytes_sent": outbox.bytes_sent}
        return {"episode": match.number, "frame": frame, **connection_totals(self._others), **sent, **running}

    def next_wakeup(self, now: float) -> float:
        """When :meth:`poll` is next due; infinity when done."""
        return self._match.next_wakeup(now)

    def take_exports(self) -> list[Export]:
        """Exports of episodes that ended since the last call."""
        taken, self._handover.exports = self._handover.exports, []
        return taken

    def take_events(self) -> list[PeerEvent]:
        """What happened since the last call."""
        taken = self._events[:]
        self._events.clear()
        return taken

    def player_left(self, player: int, now: float) -> None:
        """The server says that a player's connection ended; of our own, that we count as gone for it."""
        if player == self.player:
            self._departures.dropped = True
        elif (remote := self.remotes.get(player)) is not None:
            remote.left_for_good = True
            self._departures.suspect(remote, "left", "partner_left", now + LEAVE_GRACE)

    def stop(self, now: float) -> None:
        """End the match here and now: the canonical prefix is exported, partners are told."""
        self._match.stop(now)

    def receive(self, source: int, data: bytes, now: float) -> None:
        """A packet from player ``source``, for whom the transport vouches. Never raises for what is in it."""
        if not self.done:
            self._intake.receive(source, data, now)

    def poll(self, now: float) -> list[tuple[int, bytes]]:
        """Do what is due at ``now``; the packets to send, as (player, bytes)."""
        self._match.advance(now)
        return self._outbox.take()
