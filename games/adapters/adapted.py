"""An environment from elsewhere as a game."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rollgym.games.adapters.declared import fps_of
from rollgym.games.adapters.families import family_of
from rollgym.games.adapters.family import ABSENT, Family
from rollgym.games.adapters.infos import plain_info
from rollgym.games.adapters.masks import Masks
from rollgym.games.adapters.options import AdapterOptions
from rollgym.games.adapters.rewards import Rewards
from rollgym.games.adapters.state import Past, Replayed, StateMethod, Written
from rollgym.games.canonical_bytes import plain_bytes
from rollgym.games.contract import Game, GameSpec, JointInput, Observation, Outcome
from rollgym.games.errors import GameError
from rollgym.games.recordable import check_recordable
from rollgym.games.spaces.codec import Codec
from rollgym.games.spaces.exact import exact_flag
from rollgym.games.spaces.from_json import from_json
from rollgym.games.spaces.observation_casts import blank, fitter, fresh, idle_action
from rollgym.processes.forks import end_if_forked

_DECODED = 4096
"""Distinct actions that are kept decoded, per agent."""


class AdaptedSnapshot(NamedTuple):
    """A state of an adapted game: the environment's, and what it showed last."""

    state: Any
    seen: tuple[Observation, ...]
    terminated: tuple[bool, ...]
    truncated: tuple[bool, ...]
    frame: int


class AdaptedGame(Game):
    """Any environment of the three families behind the game contract.

    Observations are what the last step (or the reset) gave, in their space's type. The episode ends when all agents
    that are there are terminated or truncated, or none is there any more; an agent may be out and come back before.
    Whatever an environment gives that cannot be recorded as it is raises :class:`~rollgym.games.errors.GameError`.
    """

    def __init__(
        self,
        env: Any,
        *,
        game_id: str,
        version: str,
        parameters: Mapping[str, Any] | None = None,
        options: AdapterOptions | None = None,
    ) -> None:
        """The environment belongs to the game from then on, and need not have been reset.

        Raises :class:`~rollgym.games.errors.GameError` for an environment or spaces that cannot be played, and
        :class:`~rollgym.games.errors.Unsafe` for a state that cannot be copied.
        """
        options = options or AdapterOptions()
        self.env = env
        self._family = family = family_of(env, options)
        self.rounded: set[str] = set()
        """Observations that were float64 where their space says float32, and lost digits."""
        self._masks: Masks | None = None
        seen_spaces = family.observation_spaces
        if options.action_mask:
            self._masks = Masks(family.action_spaces, seen_spaces, options.wait)
            seen_spaces = self._masks.spaces
        self._fit = [
            fitter(space, f"observation of {agent}", self.rounded)
            for agent, space in zip(family.agents, seen_spaces, strict=True)
        ]
        self._rewards = Rewards(family.agents, options.reward_weights)
        self._last_frame = options.max_frames
        self.spec = GameSpec(
            id=game_id,
            version=version,
            agents=family.agents,
            action_spaces=family.action_spaces,
            observation_spaces=seen_spaces,
            default_actions=_idle_actions(family, options.idle),
            fps=options.fps or fps_of(env),
            parameters=dict(parameters or {}),
            max_frames=_max_frames(family, options),
        )
        check_recordable(self.spec)
        # The Arcade Learning Environment takes the time of day for a seed of 0.
        self._zero = 2**31 - 1 if hasattr(getattr(env, "unwrapped", env), "ale") else 0
        self._process = os.getpid()
        self._decoded: list[dict[bytes, Any]] = [{} for _ in family.agents]
        self.unrecorded = family.unrecorded
        """Infos that were left out, each with the reason: keys that are no text, values without a byte form."""
        self.state_method: StateMethod
        if options.snapshot == "replay":
            self.state_method = Replayed(options.replay_limit, self._play)
        else:
            self.state_method = Written(family, options.snapshot in ("auto", "native"), options.constant)
            if options.snapshot == "native" and self.state_method.name != "native":
                raise GameError("adapter.snapshot", "native", "an environment with get_state() and set_state(state)")
        self._frame = 0
        self._seen: tuple[Observation, ...] = tuple(blank(space) for space in seen_spaces)
        self._terminated = self._truncated = (False,) * len(family.agents)

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        """Start an episode from the environment as it was constructed, with :func:`environment_seed` of the seed."""
        self.state_method.begin(seed)
        try:
            observations, infos = self._family.reset(environment_seed(seed) or self._zero)
        finally:
            end_if_forked(self._process)
        self._seen = tuple(blank(space) for space in self.spec.observation_spaces)
        self._see(observations, infos)
        self._terminated = self._truncated = (False,) * len(self.spec.agents)
        self._frame = 0
        return tuple([plain_info(info, self.unrecorded) for info in infos])

    def step(self, inputs: JointInput) -> Outcome:
        try:
            turn = self._family.step(list(map(_decode, self._decoded, self.spec.codecs, inputs)))
        finally:
            end_if_forked(self._process)
        self._frame += 1
        self._see(turn.observations, turn.infos)
        agents = self.spec.agents
        self._terminated = _flags("termination", agents, self._terminated, turn.terminated)
        self._truncated = _flags("truncation", agents, self._truncated, turn.truncated)
        over = self._is_over(turn.there) or self._frame == self._last_frame
        if over:
            self._cut_off()
        given = list(turn.infos)
        rewards = self._rewards.read(turn.rewards, given, self.unrecorded)
        infos = tuple([plain_info(info, self.unrecorded) for info in given])
        outcome = Outcome(rewards, self._terminated, self._truncated, infos, over)
        method = self.state_method
        if method.limit is not None:
            method.stepped(inputs, _shown(self._seen, outcome))
            if self._frame >= method.limit and not over:
                self._cut_off()
                outcome = outcome._replace(truncated=self._truncated, terminal=True)
        return outcome

    def save(self) -> AdaptedSnapshot:
        return AdaptedSnapshot(self.state_method.save(), self._seen, self._terminated, self._truncated, self._frame)

    def load(self, snapshot: AdaptedSnapshot) -> None:
        self.state_method.load(snapshot.state)
        _, self._seen, self._terminated, self._truncated, self._frame = snapshot

    def state_bytes(self, snapshot: AdaptedSnapshot) -> bytes:
        """Who is over, one byte per agent, then the canonical bytes of the environment:
        :mod:`rollgym.games.snapshot.object_graph`."""
        flags = bytes([t + 2 * c for t, c in zip(snapshot.terminated, snapshot.truncated, strict=True)])
        return flags + self.state_method.state_bytes(snapshot.state)

    def state_fields(self, snapshot: AdaptedSnapshot) -> Mapping[str, Any]:
        return {
            **self.state_method.fields(snapshot.state),
            "terminated": list(snapshot.terminated),
            "truncated": list(snapshot.truncated),
        }

    def observe(self) -> tuple[Observation, ...]:
        return tuple([fresh(seen) for seen in self._seen])

    def observe_agents(self, agents: Sequence[int]) -> tuple[Observation, ...]:
        return tuple([fresh(self._seen[agent]) for agent in agents])

    def observe_at(self, snapshot: AdaptedSnapshot) -> tuple[Observation, ...]:
        """What the snapshot's state showed; nothing is loaded."""
        return tuple([fresh(seen) for seen in snapshot.seen])

    def render(self) -> NDArray[np.uint8] | None:
        """The environment's picture, if it was made with ``render_mode="rgb_array"``. The state is put back after."""
        if getattr(self.env, "render_mode", None) != "rgb_array":
            return None
        present = self.save()
        try:
            return np.asarray(self.env.render(), np.uint8)
        finally:
            self.load(present)

    def render_text(self) -> str | None:
        """The environment's text, if it was made with ``render_mode="ansi"`` and gives one."""
        if getattr(self.env, "render_mode", None) != "ansi":
            return None
        present = self.save()
        try:
            text = self.env.render()
            return text if isinstance(text, str) else None
        finally:
            self.load(present)

    def close(self) -> None:
        self.env.close()

    def _play(self, past: Past) -> None:
        self.reset(past.seed)
        for joint in past.inputs():
            self.step(joint)

    def _see(self, observations: Sequence[Any], infos: Sequence[Any]) -> None:
        if self._masks is not None:
            observations = self._masks.seen(observations, infos)
        self._seen = tuple(
            [
                old if new is ABSENT else fit(new)
                for fit, new, old in zip(self._fit, observations, self._seen, strict=True)
            ]
        )

    def _is_over(self, there: Sequence[bool]) -> bool:
        """The environment has ended: nobody is there who goes on."""
        ends = zip(there, self._terminated, self._truncated, strict=True)
        return not any([here and not (t or c) for here, t, c in ends])

    def _cut_off(self) -> None:
        """The episode is over for those, too, of whom the environment does not say so."""
        ends = zip(self._terminated, self._truncated, strict=True)
        self._truncated = tuple([c or not t for t, c in ends])


def _decode(known: dict[bytes, Any], codec: Codec, data: bytes) -> Any:
    action = known.get(data)
    if action is None:
        action = codec.decode(data)
        # Arrays are made anew for every step: the environment may keep or change them.
        if isinstance(action, int) and len(known) < _DECODED:
            known[data] = action
    return action


def environment_seed(seed: int) -> int:
    """What an environment is reset with: the seed itself below ``2**31``, otherwise 31 bits folded from it.

    Many environments take no more; small seeds give the same episode as they do without rollgym.
    """
    while seed >= 2**31:
        seed = (seed & 0x7FFFFFFF) ^ (seed >> 31) ^ 0x55555555
    return seed


def _max_frames(family: Family, options: AdapterOptions) -> int | None:
    """The environment's own limit, or the adapter's."""
    replayed = options.replay_limit if options.snapshot == "replay" else None
    limits = (options.max_frames, replayed, family.frames())
    return min([frames for frames in limits if frames is not None], default=None)


def _idle_actions(family: Family, given: Any) -> tuple[Any, ...]:
    by_agent = given if isinstance(given, Mapping) and given.keys() <= set(family.agents) else None
    if given is None and family.idle is not None:
        return family.idle
    actions = []
    for agent, space in zip(family.agents, family.action_spaces, strict=True):
        value = given if by_agent is None else by_agent.get(agent)
        if value is None:
            actions.append(idle_action(space))
            continue
        try:
            action = from_json(space, value)
        except (ValueError, TypeError, KeyError) as error:
            raise GameError("adapter.idle", value, f"a member of {space}") from error
        if not space.contains(action):
            raise GameError("adapter.idle", value, f"a member of {space}")
        actions.append(action)
    return tuple(actions)


def _flags(what: str, agents: Sequence[str], before: tuple[bool, ...], now: Sequence[Any]) -> tuple[bool, ...]:
    return tuple(
        [
            old if new is ABSENT else exact_flag(f"{what} of {agent}", new)
            for agent, old, new in zip(agents, before, now, strict=True)
        ]
    )


def _shown(seen: tuple[Observation, ...], outcome: Outcome) -> bytes:
    return plain_bytes([seen, outcome.rewards, outcome.terminated, outcome.truncated, [dict(i) for i in outcome.infos]])
