"""One match as a state machine without I/O: who plays, what was received, what has to be judged, when it is over.

paired (told of it) -> playing (everyone has opened the relay) -> uploading (everyone has finished or left) -> over.

Every phase has an end that depends on nobody's good will: *paired* on the time in which the relay has to be opened,
*playing* on :meth:`Match.stuck` and on how long a seat is held for a player who is away, *uploading* on
:meth:`Match.awaited_until` and on the time that a judgement may take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple

from msgspec import Struct

from rollgym.protocol.messages import COMPLETE, Verdict
from rollgym.protocol.packets import Reached
from rollgym.server.play.experiment import Player, RunningExperiment, furthest
from rollgym.server.play.signs import Signs
from rollgym.server.storage.rows import EpisodeRow, MatchRow, UnjudgedRow, UploadRow

MARGIN = 5.0
"""Seconds beyond what the players themselves wait for: whoever is there gives up first, by itself."""

LAST_UPLOADS = 2.0
"""Seconds after a player has left in which its last uploads are waited for: a client that stops has some under way.
What it could not send by then comes at its next start, which may be never; the others are not kept waiting for that."""


class Phase(Enum):
    """How far a match is."""

    PAIRED = "paired"
    PLAYING = "playing"
    UPLOADING = "uploading"
    OVER = "over"


class Awaited(NamedTuple):
    """Something that a match waits for."""

    what: str
    player: int | None
    """Who has to do it; None: the server."""
    since: float
    """Seconds of the server's clock."""


@dataclass
class Seat:
    """One player of a match."""

    participant: str
    client: str | None
    """Its control connection; None once that is gone."""
    signs: Signs
    """What was heard of the player."""
    relayed: bool = False
    """It has opened the relay."""
    finished: bool = False
    """It said that it has uploaded everything."""
    left_at: float | None = None
    lost_at: float | None = None
    """When its control connection broke; None unless the seat is held for its return."""
    token: bytes = b""
    """Hash of what it must say to take the seat again. Empty: nothing will do."""
    member: str = ""
    """Its newest control connection, which its group in the lobby knows it by."""
    told: list[Struct] = field(default_factory=list)
    """What the server had to say about the match, in order: whoever comes back says how much of it has been heard."""
    sent: int = 0
    """How much of that was sent on the present connection, or heard before it."""
    telling: bool = False
    """Some of it is being sent."""
    signals: int = 0
    """Signals that it has sent to other players."""

    @property
    def state(self) -> Literal["here", "away", "finished", "left"]:
        """How it stands with the player. ``away``: its connection broke, and it may come back."""
        if self.left_at is not None:
            return "left"
        if self.finished:
            return "finished"
        return "here" if self.lost_at is None else "away"

    @property
    def done(self) -> bool:
        """It will play no more."""
        return self.finished or self.left_at is not None


@dataclass
class Match:
    """Times are seconds of one monotonic clock."""

    row: MatchRow
    seats: list[Seat]
    upload_grace: float
    group: object = None
    """What the lobby knows its players by. None for a match of an earlier run of the server."""
    experiment: RunningExperiment | None = None
    """None if it is of none that is being played here."""
    counts: bool = False
    """Its end counts: it is one of the matches that the experiment asks for, and was not over before."""
    uploads: dict[int, set[int]] = field(default_factory=dict)
    """Episode -> players whose upload is durable."""
    judged: dict[int, frozenset[int]] = field(default_factory=dict)
    """Episode -> players whose uploads the verdict is about."""
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    """Episodes that are being judged."""
    unjudged: dict[int, UnjudgedRow] = field(default_factory=dict)
    """Episodes that could not be judged, and why. Their uploads stay in the inbox for the next start."""
    ended: bool = False
    annulled: bool = False
    """It was undone before play began."""

    @classmethod
    def begun(cls, experiment: RunningExperiment, players: Sequence[Player], now: float) -> Match:
        """The next match of an experiment. Nobody knows of it yet."""
        row, last = experiment.next_match(tuple(players)), furthest(experiment.play, experiment.episode_frames)
        seats = [Seat(player.participant, player.client, Signs(now, last), member=player.client) for player in players]
        return cls(row, seats, experiment.settings.upload_grace, experiment=experiment, counts=True)

    @classmethod
    def taken_up(
        cls,
        row: MatchRow,
        uploads: Sequence[UploadRow],
        verdicts: Sequence[EpisodeRow],
        *,
        grace: float,
        experiment: RunningExperiment | None,
        now: float,
        last: Reached,
    ) -> Match:
        """A match that nobody plays any more, with what the catalogue has of it."""
        seats = [
            Seat(participant, None, Signs(now, last), relayed=True, left_at=now) for participant in row.participants
        ]
        match = cls(row, seats, grace, experiment=experiment, counts=experiment is not None)
        for upload in uploads:
            match.uploads.setdefault(upload.episode, set()).add(upload.player)
        for verdict in verdicts:
            match.judged[verdict.episode] = frozenset(verdict.players)
            match.verdicts[verdict.episode] = verdict_message(verdict)
        return match

    @property
    def phase(self) -> Phase:
        """How far the match is."""
        if self.ended:
            return Phase.OVER
        if all(seat.done for seat in self.seats):
            return Phase.UPLOADING
        return Phase.PLAYING if all(seat.relayed or seat.done for seat in self.seats) else Phase.PAIRED

    @property
    def patience(self) -> float:
        """Seconds for which the match may stand still, or a player bring nothing on, before that is its end."""
        settings = self.row.settings
        return max(settings.start_timeout, settings.silence) + MARGIN + 2 / settings.fps

    def stuck(self, now: float) -> list[int]:
        """Who has to go: players who bring nothing on, or everybody if nobody gets any further."""
        if self.phase is not Phase.PLAYING:
            return []
        playing = [player for player, seat in enumerate(self.seats) if not seat.done]
        signs = [seat.signs for seat in self.seats]
        silent = [n for n in playing if not signs[n].uploading and now >= signs[n].moved + self.patience]
        if silent or any(signs[n].uploading for n in playing):
            return silent
        return playing if now >= max(s.advanced for s in signs) + self.patience else []

    def look_at(self, now: float) -> float:
        """When :meth:`stuck` may have something to say next."""
        times = [seat.signs.moved for seat in self.seats if not seat.done and not seat.signs.uploading]
        times.append(max(seat.signs.advanced for seat in self.seats))
        return min((at + self.patience for at in times if at + self.patience > now), default=now + self.patience)

    def leave(self, player: int, now: float) -> bool:
        """The player's connection ended or it said so. False if it had left or finished before."""
        seat = self.seats[player]
        if seat.done:
            return False
        seat.left_at = now
        return True

    def awaited_until(self, player: int) -> float:
        """Until when a missing upload of the player is waited for. What comes later changes the verdict."""
        seat = self.seats[player]
        if seat.finished:
            return float("-inf")
        if seat.left_at is None:
            return float("inf")
        # Of an earlier run of the server: its players have to find out first that it is there again.
        return seat.left_at + (self.upload_grace if self.group is None else min(self.upload_grace, LAST_UPLOADS))

    def to_judge(self, now: float) -> list[int]:
        """Episodes whose verdict can be found now: all uploads are in, or no more are waited for."""
        absent = {player for player in range(len(self.seats)) if now >= self.awaited_until(player)}
        return [
            episode
            for episode, players in sorted(self.uploads.items())
            if episode not in self.running
            and episode not in self.unjudged
            and players - self.judged.get(episode, frozenset())
            and len(players | absent) == len(self.seats)
        ]

    def awaits(self, now: float) -> list[Awaited]:
        """What has to happen before the match goes on or is over."""
        seats = list(enumerate(self.seats))
        match self.phase:
            case Phase.OVER:
                return [Awaited("to be recorded", None, now)]
            case Phase.PAIRED:
                late = [(n, seat) for n, seat in seats if not seat.relayed and not seat.done]
                return [Awaited("to open the relay", n, seat.signs.moved) for n, seat in late]
            case Phase.PLAYING:
                return [Awaited(*_awaited(seat, n)) for n, seat in seats if not seat.done]
        # Nobody plays any more.
        since = max((seat.signs.moved if seat.left_at is None else seat.left_at for seat in self.seats), default=now)
        judged = [Awaited(f"verdict on episode {episode}", None, since) for episode in sorted(self.running)]
        left = [(n, seat.left_at) for n, seat in seats if seat.left_at is not None and now < self.awaited_until(n)]
        return judged + [Awaited("last uploads of one who left", n, at) for n, at in left]

    def complete(self) -> bool:
        """Every player's upload of every episode is in."""
        wanted = len(self.seats)
        return all(len(self.uploads.get(episode, ())) == wanted for episode in range(self.row.settings.episodes))

    def changes_at(self, now: float) -> float | None:
        """When an upload that is missing is waited for no more; None if that does not depend on the time."""
        times = [self.awaited_until(player) for player in range(len(self.seats))]
        return min((at for at in times if now < at < float("inf")), default=None)

    def closed(self, now: float) -> bool:
        """Nothing more is waited for."""
        return self.complete() or all(now >= self.awaited_until(player) for player in range(len(self.seats)))

    def over(self, now: float) -> bool:
        """Nothing more is waited for, and everything received has its verdict."""
        return self.closed(now) and not self.running and not self.to_judge(now)

    def outcome(self) -> str:
        """Why the match is over, for people."""
        wanted = self.row.settings.episodes
        if len(self.verdicts) == wanted and all(v.verdict == "verified" for v in self.verdicts.values()):
            return COMPLETE
        if self.unjudged:
            reasons = "; ".join(f"episode {n} was not judged: {row.reason}" for n, row in sorted(self.unjudged.items()))
            return f"incomplete: {reasons}"[:1024]
        counts = Counter(verdict.verdict for verdict in self.verdicts.values())
        parts = [f"{number} {verdict}" for verdict, number in sorted(counts.items())]
        if wanted > len(self.verdicts):
            parts.append(f"{wanted - len(self.verdicts)} not received")
        return f"incomplete: of {wanted} episodes {', '.join(parts)}"


def _awaited(seat: Seat, player: int) -> tuple[str, int, float]:
    if seat.lost_at is not None:
        return "to come back", player, seat.lost_at
    return "to upload" if seat.signs.uploading else "to play on", player, seat.signs.moved


def verdict_message(row: EpisodeRow) -> Verdict:
    """What the players of a match are told of a verdict."""
    match row.verdict:
        case "verified" | "diverged" | "single" | "partial":
            return Verdict(row.match, row.episode, row.verdict, row.detail[:1024])
        case other:
            raise ValueError(f"verdict {other!r} in the catalogue")
