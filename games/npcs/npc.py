"""NPCs: agents whose policy is part of the simulation: every peer, the audit and every replay compute the same.

What an NPC does in a frame is a pure function of the state: its observation of it, what it remembers, the frame and the
episode's seed. Nothing of that is kept outside of the snapshot. After a rollback an NPC decides anew from the corrected
state; an action that it took in a mispredicted one is gone with it. See ``docs/npcs.md``.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from rollgym.games.contract import Game, GameSpec, JointInput, Observation, Outcome
from rollgym.games.errors import GameError
from rollgym.games.policies.catalogue import make_policy, needs_file, policy_parameters
from rollgym.games.policy import Policy, RecurrentPolicy
from rollgym.games.spaces.codec import Codec, CodecError
from rollgym.games.wrapper import GameWrapper

NPCS = "npcs"
"""The parameter of every game under which its NPCs stand: agent to policy, parameters and seed. So they are part of the
game's identity, and whoever makes the game from its parameters makes its NPCs too."""

_pack_head = struct.Struct("<QQ").pack
_pack_length = struct.Struct("<I").pack


class Npc(NamedTuple):
    """Who drives an agent."""

    policy: str
    """A name that :func:`rollgym.games.policies.catalogue.make_policy` knows."""
    parameters: Mapping[str, Any] = {}
    seed: int = 0


def with_npcs(game: Game, npcs: Mapping[str, Any]) -> Game:
    """The game with some of its agents driven by policies; its players are the others, in agent order.

    ``npcs`` maps an agent's name to an :class:`Npc`, a mapping with the same keys, or just a policy's name. The game
    belongs to the one that is returned. Without NPCs it is returned as it is.

    Raises :class:`~rollgym.games.errors.GameError` for an agent that does not exist, a policy that cannot play it, and
    if no
    player would be left.
    """
    if not isinstance(npcs, Mapping):
        raise GameError(NPCS, npcs, "a mapping: agent to policy")
    if not npcs:
        return game
    spec = game.spec
    if spec.npcs:
        raise GameError(NPCS, list(npcs), "all NPCs at once: the game has some already")
    for agent in npcs:
        if agent not in spec.agents:
            raise GameError(f"{NPCS} agent", agent, "one of " + ", ".join(spec.agents))
    if len(npcs) == len(spec.agents):
        raise GameError(NPCS, list(npcs), f"at least one of {', '.join(spec.agents)} left for a player")
    return NpcGame(game, {agent: _read(agent, npcs[agent]) for agent in spec.agents if agent in npcs})


def _read(agent: str, value: Any) -> Npc:
    where = f"{NPCS}.{agent}"
    if isinstance(value, Npc):
        value = value._asdict()
    if isinstance(value, str):
        value = {"policy": value}
    if not isinstance(value, Mapping) or "policy" not in value or not value.keys() <= set(Npc._fields):
        raise GameError(where, value, "the name of a policy, or a mapping with policy, parameters and seed")
    parameters = value.get("parameters", {})
    if not isinstance(parameters, Mapping):
        raise GameError(f"{where}.parameters", parameters, "a mapping")
    if "path" in parameters:
        raise GameError(
            f"{where}.parameters.path", parameters["path"], "values: peers cannot agree on a file's content"
        )
    if needs_file(value["policy"]):
        raise GameError(
            f"{where}.policy", value["policy"], "a policy without a file: peers cannot agree on its content"
        )
    complete = {name: v for name, v in policy_parameters(value["policy"], parameters).items() if name != "path"}
    try:
        plain = json.loads(json.dumps(complete))
    except (TypeError, ValueError) as error:
        raise GameError(f"{where}.parameters", complete, f"JSON values ({error})") from error
    return Npc(value["policy"], plain, value.get("seed", 0))


class _Driver:
    """One NPC at work."""

    def __init__(self, spec: GameSpec, name: str, npc: Npc) -> None:
        agent = spec.agents.index(name)
        try:
            # In the game without NPCs every agent has a player, so agent and player are the same number.
            self.policy: Policy = make_policy(npc.policy, spec, agent, npc.seed, **npc.parameters)
        except GameError as error:
            raise GameError(f"{NPCS}.{name}: {error.field}", error.value, error.expected) from error
        self.name = name
        self.agent = agent
        self.recurrent: RecurrentPolicy | None = _recurrent(self.policy)
        self._codec: Codec = spec.codecs[agent]

    def decide(self, observation: Observation, frame: int) -> bytes:
        action = self.policy.act(observation, frame)
        try:
            return self._codec.encode(action)
        except CodecError as error:
            raise GameError(f"{NPCS}.{self.name} action", action, f"a member of its space ({error})") from error


def _recurrent(policy: Any) -> RecurrentPolicy | None:
    return policy if hasattr(policy, "memory") else None


class NpcGame(GameWrapper):
    """A game and its NPCs as one game. Made by :func:`with_npcs`."""

    def __init__(self, game: Game, npcs: Mapping[str, Npc]) -> None:
        """``npcs`` in agent order."""
        super().__init__(game)
        spec = game.spec
        self._drivers = tuple(_Driver(spec, name, npc) for name, npc in npcs.items())
        self._driven = tuple(driver.agent for driver in self._drivers)
        self._recurrent = tuple(d.recurrent for d in self._drivers if d.recurrent is not None)
        seats = tuple(agent for agent in range(len(spec.agents)) if agent not in self._driven)
        self.spec = dataclasses.replace(
            spec,
            seats=seats,
            parameters={
                **spec.parameters,
                NPCS: {name: {**npc._asdict(), "parameters": dict(npc.parameters)} for name, npc in npcs.items()},
            },
        )
        # Where each agent's action is when the players' inputs come first and the NPCs' actions follow.
        self._order = tuple((*seats, *self._driven).index(agent) for agent in range(len(spec.agents)))
        self._frame = 0
        self._seed = 0

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        self._frame, self._seed = 0, seed
        for driver in self._drivers:
            driver.policy.reset(seed)
        return self.game.reset(seed)

    def step(self, inputs: JointInput) -> Outcome:
        frame = self._frame
        seen = self.game.observe_agents(self._driven)
        actions = tuple([d.decide(observation, frame) for d, observation in zip(self._drivers, seen, strict=True)])
        all_actions = inputs + actions
        outcome = self.game.step(tuple([all_actions[at] for at in self._order]))
        self._frame = frame + 1
        return outcome._replace(npc_actions=actions)

    def inner(self, snapshot: Any) -> Any:
        return snapshot[0]

    def save(self) -> Any:
        return self.game.save(), self._frame, self._seed, tuple([policy.memory() for policy in self._recurrent])

    def load(self, snapshot: Any) -> None:
        inner, self._frame, seed, memories = snapshot
        self.game.load(inner)
        if seed != self._seed:
            self._seed = seed
            for driver in self._drivers:
                driver.policy.reset(seed)
        for policy, memory in zip(self._recurrent, memories, strict=True):
            policy.recall(memory)

    def state_bytes(self, snapshot: Any) -> bytes:
        """Frame and episode seed as uint64, each memory behind its length as uint32, then the game's own bytes."""
        inner, frame, seed, memories = snapshot
        parts = [_pack_head(frame, seed)]
        for memory in self._memory_bytes(memories):
            parts += [_pack_length(len(memory)), memory]
        return b"".join([*parts, self.game.state_bytes(inner)])

    def _memory_bytes(self, memories: tuple[Any, ...]) -> list[bytes]:
        return [policy.memory_bytes(memory) for policy, memory in zip(self._recurrent, memories, strict=True)]

    def state_fields(self, snapshot: Any) -> Mapping[str, Any]:
        inner, frame, seed, memories = snapshot
        names = [driver.name for driver in self._drivers if driver.recurrent is not None]
        remembered = zip(names, self._memory_bytes(memories), strict=True)
        return {
            "npcs.frame": frame,
            "npcs.seed": seed,
            **{f"npcs.{name}.memory": memory.hex() for name, memory in remembered},
            **self.game.state_fields(inner),
        }
