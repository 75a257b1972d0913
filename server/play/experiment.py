"""An experiment that is being played: its game, its settings, and how many matches of it there were and may be.

A server holds as many as it is given. Who waits for one, and who is paired with whom, is the lobby's.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from msgspec import Struct

from rollgym.protocol.messages import GameIdentity, PlaySettings
from rollgym.protocol.packets import Reached
from rollgym.protocol.seeds import SEED_LIMIT, match_seed
from rollgym.server.play.series import Series
from rollgym.server.settings import Experiment
from rollgym.server.storage.keys import new_match_id
from rollgym.server.storage.rows import MatchRow


class Player(Struct, frozen=True):
    """A client as it joined."""

    client: str
    participant: str
    software: dict[str, str]


@dataclass(eq=False)
class RunningExperiment:
    """Compared by identity. Owned by the event loop."""

    settings: Experiment
    game: GameIdentity
    play: PlaySettings
    series: Series
    episode_frames: int
    """Frames of the longest episode that the server takes."""
    owner: str | None = None
    """Which server's process plays the matches: goes into the catalogue."""
    _config_hash: str = field(init=False)
    _seed: int = field(init=False)

    def __post_init__(self) -> None:
        self._config_hash = self.settings.digest()
        self._seed = secrets.randbelow(SEED_LIMIT) if self.settings.seed is None else self.settings.seed

    @property
    def name(self) -> tuple[str, str]:
        """Experiment and condition, by which the catalogue knows it."""
        return self.settings.name, self.settings.condition

    def next_match(self, players: tuple[Player, ...]) -> MatchRow:
        """A match of the next number that nobody knows of yet."""
        number = self.series.take()
        return MatchRow(
            new_match_id(),
            *self.name,
            self._config_hash,
            match_seed(self._seed, number),
            self.game,
            self.play,
            tuple(player.participant for player in players),
            tuple(player.software for player in players),
            time.time(),
            number=number,
            owner=self.owner,
        )

    def undo(self, row: MatchRow) -> None:
        """The match will never be played, and the catalogue knows it: its number is free again."""
        assert row.number is not None
        self.series.give_back(row.number)


def furthest(play: PlaySettings, episode_frames: int) -> Reached:
    """The last episode, and the furthest frame that anybody can get to in one: what may be simulated ahead counts."""
    frames = play.frame_limit or episode_frames
    return Reached(play.episodes - 1, frames + play.max_prediction + play.input_delay)
