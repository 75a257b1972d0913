"""What a game says of itself when two peers and a server make sure that they mean the same game."""

from __future__ import annotations

from rollgym.games.contract import GameSpec
from rollgym.games.spaces.described import describe
from rollgym.protocol.messages import GameIdentity


def identity(spec: GameSpec) -> GameIdentity:
    """The comparable form of a game's spec."""
    return GameIdentity(
        id=spec.id,
        version=spec.version,
        parameters=dict(spec.parameters),
        agents=spec.agents,
        npcs=tuple(spec.agents[agent] for agent in spec.npcs),
        action_spaces=tuple(describe(space) for space in spec.action_spaces),
        observation_spaces=tuple(describe(space) for space in spec.observation_spaces),
    )
