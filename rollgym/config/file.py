"""The experiment file as values: what is played, by which bots, over which network, and where the data goes.

``docs/configuration.md`` lists every key. :mod:`rollgym.config.reading` reads a file and checks it.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rollgym.client_sim.network_model import CONDITIONS, ConditionsError, Link, NetworkConditions
from rollgym.client_sim.rollback.prediction.catalogue import DEFAULT
from rollgym.config.units import Duration, Share
from rollgym.games.contract import GameSpec
from rollgym.games.description import Description, Driver, described_blocking
from rollgym.games.registry import default_policy
from rollgym.protocol.packets import MAX_PLAYERS
from rollgym.server.settings import Experiment, ServerSettings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Bot(_Section):
    """Who plays one seat."""

    policy: str | None = None
    """None: a policy that plays the game actively (:func:`default_policy`)."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """None: the seat's index plus 1, so that two bots never draw alike."""


class Network(_Section):
    """What each peer's transport does to the packets it sends: one of the named conditions, or numbers.

    All values are one way, so a round trip takes twice the latency. A file may give just the name.
    """

    name: str | None = None
    latency: Duration = 0.0
    jitter: Duration = 0.0
    loss: Share = 0.0
    reorder: Share = 0.0
    reorder_delay: Duration = NetworkConditions.reorder_delay
    duplicate: Share = 0.0
    burst_start: Share = 0.0
    burst_length: int = 0
    retransmit: Duration = 0.0

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _usable(self) -> Network:
        self.link()
        return self

    def link(self) -> Link:
        """The conditions of both directions. ``ValueError`` if they do not fit together."""
        numbers = self.model_dump(exclude={"name"}, exclude_unset=True)
        if self.name is None:
            return Link.both(NetworkConditions(**numbers).check_that_it_carries())
        if numbers:
            raise ValueError(f"either name or numbers: got name {self.name!r} and {', '.join(numbers)}")
        if self.name not in CONDITIONS:
            raise ConditionsError("name", self.name, f"one of {', '.join(CONDITIONS)}")
        return CONDITIONS[self.name]


class ExperimentFile(_Section):
    """A whole file. ``rollgym serve`` uses ``server`` and ``experiment``, ``rollgym run`` everything."""

    experiment: Experiment = Field(default_factory=Experiment)
    server: ServerSettings = Field(default_factory=ServerSettings)
    bots: tuple[Bot, ...] = ()
    """One per player, in the order of joining; those not given play with the defaults."""
    network: Network = Field(default_factory=Network)
    prediction: str = DEFAULT
    """What each peer takes for an input of another player that has not arrived: a rule's name, or
    ``package.module:callable``."""

    @field_validator("server", mode="before")
    @classmethod
    def _one_experiment(cls, value: Any) -> Any:
        if isinstance(value, dict) and "experiment" in value:
            raise ValueError("experiment does not belong here: it is a section of its own")
        return value

    def server_settings(self, **changes: Any) -> ServerSettings:
        """What the server is started with; ``changes`` replace single settings of it."""
        return self.server.model_copy(update={"experiment": self.experiment, **changes})

    def all_bots(self, game: GameSpec | Description) -> list[Bot]:
        """One bot per player with nothing left open."""
        game_id = game.game.id if isinstance(game, Description) else game.id
        return self._bots(game_id, game.players)

    def _bots(self, game_id: str, players: int) -> list[Bot]:
        given = [*self.bots, *[Bot()] * (players - len(self.bots))]
        return [
            bot.model_copy(
                update={
                    "policy": bot.policy or default_policy(game_id),
                    "seed": player + 1 if bot.seed is None else bot.seed,
                }
            )
            for player, bot in enumerate(given)
        ]

    def bot(self, seat: int) -> Bot:
        """The bot of one seat with nothing left open. The seat has to be one of the game's."""
        return self._bots(self.experiment.game.id, MAX_PLAYERS)[seat]

    def describe(self) -> Description:
        """What is known of the game, and which bots cannot play it: asked of a process of its own.

        Raises :class:`~rollgym.games.errors.GameError`. Not to be called where an event loop runs.
        """
        game = self.experiment.game
        drivers = [Driver(bot.policy or "", bot.parameters, bot.seed or 0) for bot in self._bots(game.id, MAX_PLAYERS)]
        return described_blocking(game.id, game.all_parameters(), drivers)
