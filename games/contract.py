"""The game contract: what a peer, the recorder and the server's audit need of an environment.

A :class:`Game` is a deterministic simulation. Its next state is a pure function of its state and of the
joint input; its first state is a pure function of its parameters and the seed. Wall time, process-wide
random generators and anything else outside :meth:`Game.save` must not matter.

Actions cross the contract in their *encoded* form: one ``bytes`` object of fixed width per player (see
:mod:`rollgym.games.spaces.codec`). They are hashable, comparable, and go over the wire and into the record as they are.

Agents and players are two things. An *agent* acts in the game and has spaces, rewards and infos of its own. A *player*
is a peer that decides an agent's actions from outside. An agent without a player is an NPC: its actions are decided
within the simulation (:mod:`rollgym.games.npcs.npc`). Without NPCs player ``i`` has agent ``i``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import xxhash
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.spaces.codec import Codec, codec_for

JointInput = tuple[bytes, ...]
"""One encoded action per player, in player order: see :attr:`GameSpec.seats`."""

Observation = Any
"""One agent's observation: a member of its observation space."""


class Outcome(NamedTuple):
    """What one step gave, per agent in the order of :attr:`GameSpec.agents`.

    A game must hand out a fresh (or immutable) outcome every step: the recorder keeps it.
    """

    rewards: tuple[float, ...]
    terminated: tuple[bool, ...]
    truncated: tuple[bool, ...]
    infos: tuple[Mapping[str, Any], ...]
    terminal: bool
    """The episode is over: no agent goes on after this step."""
    npc_actions: tuple[bytes, ...] = ()
    """What each NPC did in this step, encoded, in agent order. It goes into the record beside the players' inputs."""


@dataclass(frozen=True)
class GameSpec:
    """What two peers must agree on before they may play each other."""

    id: str
    version: str
    agents: tuple[str, ...]
    """Names. All that follows "per agent" is in this order."""
    action_spaces: tuple[spaces.Space[Any], ...]
    observation_spaces: tuple[spaces.Space[Any], ...]
    default_actions: tuple[Any, ...]
    """What a player who does nothing does."""
    fps: int
    """Frames per second the game is meant to be played at."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Everything the game was built with, defaults filled in. JSON values only."""
    seats: tuple[int, ...] = ()
    """Per player the index of its agent, ascending. Empty: every agent has a player."""
    action_names: tuple[str, ...] = field(default=(), compare=False)
    """What people call the actions of every agent's Discrete space, from its first on. Empty: only numbers."""
    max_frames: int | None = field(default=None, compare=False)
    """An episode has at most this many frames, by the game's own rules. None: nothing is known, it may have no end."""
    codecs: tuple[Codec, ...] = field(init=False, repr=False, compare=False)
    """Per agent."""
    input_codecs: tuple[Codec, ...] = field(init=False, repr=False, compare=False)
    """Per player: the codec of its agent."""
    default_inputs: JointInput = field(init=False, repr=False, compare=False)
    """Per player: its agent's default action."""

    def __post_init__(self) -> None:
        agents = range(len(self.agents))
        seats = self.seats or tuple(agents)
        if list(seats) != sorted(set(seats)) or not set(seats) <= set(agents):
            raise ValueError(f"seats {seats}: expected indices below {len(agents)}, ascending")
        codecs = tuple(codec_for(space) for space in self.action_spaces)
        defaults = tuple(c.encode(a) for c, a in zip(codecs, self.default_actions, strict=True))
        object.__setattr__(self, "seats", seats)
        object.__setattr__(self, "codecs", codecs)
        object.__setattr__(self, "input_codecs", tuple(codecs[agent] for agent in seats))
        object.__setattr__(self, "default_inputs", tuple(defaults[agent] for agent in seats))

    def action_text(self, agent: int, action: bytes) -> str:
        """An encoded action of an agent in words, if there are any.

        Raises :class:`~rollgym.games.spaces.codec.CodecError` for bytes that are no action.
        """
        decoded: Any = self.codecs[agent].decode(action)
        space = self.action_spaces[agent]
        if self.action_names and isinstance(space, spaces.Discrete):
            return self.action_names[int(decoded) - int(space.start)]
        return str(decoded)

    @property
    def players(self) -> int:
        """How many players the game seats."""
        return len(self.seats)

    @property
    def npcs(self) -> tuple[int, ...]:
        """The indices of the agents that have no player."""
        return tuple(agent for agent in range(len(self.agents)) if agent not in self.seats)


class Game(ABC):
    """One instance of a game. Not thread-safe; one owner.

    Life: :meth:`reset`, then any order of :meth:`step`, :meth:`save`, :meth:`load`, :meth:`observe`; another
    :meth:`reset` begins the next episode, whatever happened in the last one; :meth:`close` is the last call. ``spec``
    is there from the start and never changes. What a method raises ends the episode with status ``error``.
    """

    spec: GameSpec

    @abstractmethod
    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        """Go to the first state of an episode. ``0 <= seed < 2**63``. Returns one info per agent.

        The state, and all that follows from it, is a function of the parameters and the seed alone.
        """

    @abstractmethod
    def step(self, inputs: JointInput) -> Outcome:
        """Advance one frame, by ``1 / spec.fps`` seconds of play.

        ``inputs``: one action per player, ``spec.input_codecs[player].width`` bytes each, which were checked against
        the codecs by whoever took them in. Never called after a step whose outcome was ``terminal``, unless an earlier
        state was loaded, or the game reset. The same state and inputs give the same outcome and the same next state.
        """

    @abstractmethod
    def save(self) -> Any:
        """The whole state as an opaque snapshot that later steps never touch.

        Called up to once a frame, and many may be held at a time. Must not change the state. A snapshot belongs to the
        instance that took it.
        """

    @abstractmethod
    def load(self, snapshot: Any) -> None:
        """Go back to a snapshot that this instance took. It stays usable: it may be loaded again."""

    @abstractmethod
    def state_bytes(self, snapshot: Any) -> bytes:
        """The canonical bytes of a snapshot: equal states give equal bytes, on any machine, and others other ones.

        The present state is left as it is.
        """

    @abstractmethod
    def observe(self) -> tuple[Observation, ...]:
        """One observation per agent for the present state, freshly built: the caller keeps it.

        Each is a member of ``spec.observation_spaces[agent]``, in its type and shape. Must not change the state. It may
        be called any number of times for a state, or never.
        """

    def observe_agents(self, agents: Sequence[int]) -> tuple[Observation, ...]:
        """:meth:`observe` for some agents only, in the order asked for: NPCs look at every frame, and at no other's."""
        seen = self.observe()
        return tuple(seen[agent] for agent in agents)

    def observe_at(self, snapshot: Any) -> tuple[Observation, ...]:
        """The observations of a saved state; the present state is left as it is."""
        present = self.save()
        self.load(snapshot)
        try:
            return self.observe()
        finally:
            self.load(present)

    def digest(self, snapshot: Any) -> int:
        """Unsigned 64-bit XXH3 of :meth:`state_bytes`: what peers compare while they play."""
        return xxhash.xxh3_64_intdigest(self.state_bytes(snapshot))

    def state_fields(self, snapshot: Any) -> Mapping[str, Any]:
        """A snapshot as named parts, for telling a person where two states differ.

        Values are plain: numbers, texts, bytes, arrays, lists and mappings of these.
        """
        return {"state": self.state_bytes(snapshot).hex()}

    def render(self) -> NDArray[np.uint8] | None:
        """The present state as a picture, ``(height, width, 3)`` in RGB, or None if the game draws none.

        Must not change the state.
        """
        return None

    def render_text(self) -> str | None:
        """The present state as lines of text, or None if the game has no text form. Must not change the state."""
        return None

    def close(self) -> None:
        """Let go of windows, files and other resources. The game is not used afterwards."""
        return None
