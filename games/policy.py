"""The policy contract: what decides for an agent, as a bot or, from within the game, as an NPC."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from rollgym.games.contract import GameSpec, Observation


class PolicySeat(NamedTuple):
    """Whom a policy plays for, and the seed of what it draws."""

    spec: GameSpec
    agent: int
    """Index in ``spec.agents``."""
    seed: int


class Policy(Protocol):
    """Decides for one agent. ``reset`` comes before the first ``act`` of every episode.

    What either raises ends the episode with status ``error``. For the same actions every time, whatever it draws has to
    follow from its own seed and the episode's (:mod:`rollgym.games.counter_rng`).
    """

    def reset(self, seed: int) -> None:
        """A new episode with this seed begins, ``0 <= seed < 2**63``. Nothing of the last one may matter."""

    def act(self, observation: Observation, frame: int) -> Any:
        """The agent's action, decided at ``frame``, which is counted from 0: a member of its action space.

        ``observation`` is a member of its observation space, and must not be changed. A player's policy is asked once
        for each frame that is played, in their order, and never for one that is simulated again; frames in which its
        peer was away are left out. An NPC's policy is asked again for every frame that is simulated again, so there it
        has to be a function of the arguments, the seeds and, if it has one, its memory.
        """


class RecurrentPolicy(Policy, Protocol):
    """A policy that also acts on what it saw before. As an NPC its memory is part of the game's state.

    All it remembers has to be in its memory; players' policies are never asked for it.
    """

    def memory(self) -> Any:
        """What it remembers after its last ``act`` (or ``reset``), as a value that later acts never touch.

        Asked for at every snapshot, up to once a frame.
        """

    def recall(self, memory: Any) -> None:
        """Go back to a memory of the same episode. It stays usable: it may be recalled again.

        Comes before the next ``act`` after a rollback; if the episode is another one, ``reset`` comes first.
        """

    def memory_bytes(self, memory: Any) -> bytes:
        """The canonical bytes of a memory, fewer than ``2**32``: equal memories give equal bytes, on any machine."""
