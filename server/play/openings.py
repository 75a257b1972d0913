"""How a match comes to be: its number, seed, row in the catalogue and tickets, and what its players are told."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from msgspec import Struct

from rollgym.protocol.messages import GameIdentity, MatchStart, PlaySettings
from rollgym.protocol.packets import Reached
from rollgym.protocol.seeds import SEED_LIMIT, match_seed
from rollgym.server.play.match import Match, Seat
from rollgym.server.play.series import Series
from rollgym.server.play.signs import Signs
from rollgym.server.play.tickets import new_ticket
from rollgym.server.settings import Experiment
from rollgym.server.storage.keys import new_match_id
from rollgym.server.storage.rows import MatchRow

RELAY_PATH = "/relay"
UPLOAD_PATH = "/matches/{match}/episodes/{episode}"


class Player(Struct, frozen=True):
    """A client as it joined."""

    client: str
    participant: str
    software: dict[str, str]


class Openings:
    """Makes the matches of one experiment. ``clock`` is monotonic seconds."""

    def __init__(
        self,
        experiment: Experiment,
        game: GameIdentity,
        play: PlaySettings,
        series: Series,
        *,
        last: Reached,
        clock: Callable[[], float],
    ) -> None:
        """``last``: the last episode, and the furthest frame that anybody can get to in one."""
        self._experiment = experiment
        self._config_hash = experiment.digest()
        self._game = game
        self._play = play
        self._series = series
        self._last = last
        self._clock = clock
        self._seed = secrets.randbelow(SEED_LIMIT) if experiment.seed is None else experiment.seed

    def make(self, players: tuple[Player, ...]) -> tuple[Match, tuple[str, ...]]:
        """A match of the next number that nobody knows of yet, and its players' tickets."""
        number = self._series.take()
        row = MatchRow(
            new_match_id(),
            self._experiment.name,
            self._experiment.condition,
            self._config_hash,
            match_seed(self._seed, number),
            self._game,
            self._play,
            tuple(player.participant for player in players),
            tuple(player.software for player in players),
            time.time(),
            number=number,
        )
        now = self._clock()
        seats = [
            Seat(player.participant, player.client, Signs(now, self._last), member=player.client) for player in players
        ]
        return Match(row, seats, self._experiment.upload_grace, counts=True), tuple(new_ticket() for _ in players)

    def undo(self, match: Match) -> None:
        """The match will never be played, and the catalogue knows it: its number is free again."""
        assert match.row.number is not None
        self._series.give_back(match.row.number)


def match_start(row: MatchRow, player: int, ticket: str, resume: str) -> MatchStart:
    """What a player is told. ``ticket`` and ``resume`` are its secrets."""
    return MatchStart(
        row.id,
        player,
        row.participants,
        row.seed,
        row.settings,
        ticket,
        RELAY_PATH,
        UPLOAD_PATH.replace("{match}", row.id),
        resume,
    )
