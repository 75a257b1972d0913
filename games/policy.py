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
    """Decides for one player. ``reset`` comes before the first ``act`` of every episode."""

    def reset(self, seed: int) -> None:
        """A new episode with this seed begins."""

    def act(self, observation: Observation, frame: int) -> Any:
        """The player's action at ``frame``: a member of its action space."""


class RecurrentPolicy(Policy, Protocol):
    """A policy that also acts on what it saw before. As an NPC its memory is part of the game's state."""

    def memory(self) -> Any:
        """What it remembers after its last ``act`` (or ``reset``), as a value that later acts never touch."""

    def recall(self, memory: Any) -> None:
        """Go back to a memory of the same episode, its own or that of an equal policy elsewhere."""

    def memory_bytes(self, memory: Any) -> bytes:
        """The canonical bytes of a memory: equal memories give equal bytes, on any machine."""
