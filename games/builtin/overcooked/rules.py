"""Overcooked from the ``cogrid`` package, over its native state.

The environment is used as it is; only its state is held here rather than inside it. A ``cogrid`` state is a frozen
dataclass whose arrays each step replaces and never writes to, so a snapshot is a reference to it, with what else
decides the future: the step count, the score, and the state of the generator that each step draws its key from.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from cogrid.core.objects import idx_to_object
from cogrid.core.objects.registry import OBJECT_REGISTRY
from cogrid.core.pipeline.step import build_step_fn, envstate_to_dict
from cogrid.envs import registry
from cogrid.feature_space.features import get_all_agent_obs
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.contract import Game, GameSpec, JointInput, Outcome
from rollgym.games.errors import GameError
from rollgym.games.info import NO_INFO
from rollgym.games.parameters import Parameter, resolve

_LAYOUTS = {
    "cramped_room": "Overcooked-CrampedRoom-V0",
    "asymmetric_advantages": "Overcooked-AsymmetricAdvantages-V0",
    "coordination_ring": "Overcooked-CoordinationRing-V0",
    "forced_coordination": "Overcooked-ForcedCoordination-V0",
    "counter_circuit": "Overcooked-CounterCircuit-V0",
}

PARAMETERS = (
    Parameter("layout", "cramped_room", "the kitchen", choices=tuple(_LAYOUTS)),
    Parameter("max_steps", 450, "frames after which both agents are truncated", low=1, high=1_000_000),
)

AGENTS = ("player_0", "player_1")
NOOP = 6
_SEEN_STATES = 256
"""Observations that are kept: more than the frames between playing and recording one, unless a peer was away."""

# What this adapter reads of the environment beyond its public methods. Checked when a game is made, because a
# release of cogrid is free to rename them.
_PRIVATE = (
    *("_action_pickup_drop_idx", "_action_toggle_idx", "_agent_id_order", "_env_state", "_feature_fn"),
    *("_lookup_tables", "_reward_config", "_scope_config", "_step_fn", "_sync_objects_from_state", "_terminated_fn"),
)
_STATE_ARRAYS = (
    *("agent_pos", "agent_dir", "agent_inv", "wall_map", "object_type_map", "object_state_map", "time", "done"),
)


class OvercookedSnapshot(NamedTuple):
    """Everything that decides the future of a game."""

    state: Any
    """cogrid's ``EnvState``."""
    t: int
    score: float
    rng: Mapping[str, Any]
    """The PCG64 state of the environment's ``np_random``."""


class Overcooked(Game):
    """Two cooks, onions, a pot, dishes and a counter to serve at."""

    def __init__(self, **parameters: Any) -> None:
        """Parameters: see :data:`PARAMETERS`.

        Raises :class:`~rollgym.games.errors.GameError` for these, and if the installed cogrid is not built as expected.
        """
        p = resolve("overcooked", PARAMETERS, parameters)
        try:
            self._env = registry.make(_LAYOUTS[p["layout"]], backend="numpy")
        except RuntimeError as error:
            # One backend per process: somebody here uses jax.
            raise GameError("cogrid backend", "jax", "numpy, in every environment of this process") from error
        self._env.max_steps = p["max_steps"]
        first, _ = self._env.reset(seed=0)
        _check_layout_of(self._env)
        (shape,) = {obs.shape for obs in first.values()}
        self.spec = GameSpec(
            id="overcooked",
            version=f"1+cogrid-{version('cogrid')}",
            agents=AGENTS,
            action_spaces=tuple(spaces.Discrete(int(self._env.action_spaces[i].n)) for i in (0, 1)),
            observation_spaces=tuple(spaces.Box(-np.inf, np.inf, shape, np.float32) for _ in AGENTS),
            default_actions=(NOOP, NOOP),
            action_names=("up", "down", "left", "right", "pick or put", "toggle", "nothing"),
            fps=30,
            parameters=p,
            max_frames=p["max_steps"],
        )
        actions = range(int(self._env.action_spaces[0].n))
        self._joint_actions = {(bytes([a]), bytes([b])): {0: a, 1: b} for a in actions for b in actions}
        self._state: Any = None
        self._seen: dict[int, tuple[Any, tuple[NDArray[np.float32], ...]]] = {}
        self._t = 0
        self._score = 0.0
        self.reset(0)

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        env = self._env
        env.reset(seed=seed)
        self._seen.clear()
        self._state, self._t, self._score = env._env_state, 0, 0.0
        self._rng = env.np_random
        # cogrid's own step builds both observations, which is more than half of its time. They are not part of the
        # state, so this step has a feature function that does nothing; observe() builds them when somebody looks.
        self._step = build_step_fn(
            env._scope_config,
            env._lookup_tables,
            _no_features,
            env._reward_config,
            env._action_pickup_drop_idx,
            env._action_toggle_idx,
            env.max_steps,
            agent_ids=env._agent_id_order,
            terminated_fn=env._terminated_fn,
        )
        return ({}, {})

    def step(self, inputs: JointInput) -> Outcome:
        key = int(self._rng.integers(2**31))
        _, self._state, rewards, terminateds, truncateds, _ = self._step(
            key, self._state, self._joint_actions[inputs[0], inputs[1]]
        )
        reward = (float(rewards[0]), float(rewards[1]))
        terminated = (bool(terminateds[0]), bool(terminateds[1]))
        truncated = (bool(truncateds[0]), bool(truncateds[1]))
        self._t += 1
        self._score += sum(reward)
        over = (terminated[0] or truncated[0]) and (terminated[1] or truncated[1])
        return Outcome(reward, terminated, truncated, (NO_INFO, NO_INFO), over)

    def save(self) -> OvercookedSnapshot:
        return OvercookedSnapshot(self._state, self._t, self._score, self._rng.bit_generator.state)

    def load(self, snapshot: OvercookedSnapshot) -> None:
        self._state, self._t, self._score, rng = snapshot
        self._rng.bit_generator.state = rng

    def state_bytes(self, snapshot: OvercookedSnapshot) -> bytes:
        """Step count, score, generator, key, then every array by name; little-endian."""
        rng = snapshot.rng
        pcg = rng["state"]
        key = snapshot.state.rng_key
        parts = [
            struct.pack("<qdq", snapshot.t, snapshot.score, -1 if key is None else key),
            pcg["state"].to_bytes(16, "little"),
            pcg["inc"].to_bytes(16, "little"),
            struct.pack("<BI", rng["has_uint32"], rng["uinteger"]),
        ]
        for name, array in _arrays(snapshot.state):
            parts.append(f"{name}{array.dtype.str[1:]}{array.shape}".encode())
            parts.append(array.tobytes() if sys.byteorder == "little" else array.byteswap().tobytes())
        return b"".join(parts)

    def state_fields(self, snapshot: OvercookedSnapshot) -> Mapping[str, Any]:
        return {
            "t": snapshot.t,
            "score": snapshot.score,
            "np_random": snapshot.rng,
            "rng_key": snapshot.state.rng_key,
            **{name: array.tolist() for name, array in _arrays(snapshot.state)},
        }

    def observe(self) -> tuple[NDArray[np.float32], ...]:
        """One float32 vector per agent, as cogrid builds it: see ``docs/games/overcooked.md``."""
        # A frame is seen when it is played and once more when it is recorded; building costs more than a step.
        # The state is kept beside what was seen, so its id cannot come to mean another one.
        known = self._seen.get(id(self._state))
        if known is None:
            ids = self._env._agent_id_order
            built = get_all_agent_obs(self._env._feature_fn, envstate_to_dict(self._state), ids)
            known = self._state, tuple(np.array(built[i]) for i in ids)
            if len(self._seen) >= _SEEN_STATES:
                del self._seen[next(iter(self._seen))]
            self._seen[id(self._state)] = known
        return tuple(vector.copy() for vector in known[1])

    def render(self) -> NDArray[np.uint8]:
        """The kitchen as cogrid's own tiles draw it, 32 pixels a cell."""
        # Drawing objects are a copy of the state that only the renderer reads.
        self._env._env_state = self._state
        self._env._sync_objects_from_state()
        picture: NDArray[np.uint8] = self._env.get_frame()
        return picture

    def render_text(self) -> str:
        """The kitchen as characters, and what pots and hands hold. Cooks are arrows; ``docs`` has the legend."""
        state = self._state
        lines = []
        cooks = {tuple(map(int, p)): "→↓←↑"[int(d)] for p, d in zip(state.agent_pos, state.agent_dir, strict=True)}
        for r, row in enumerate(state.object_type_map.tolist()):
            line = ""
            for c, kind in enumerate(row):
                # Only for a counter is the cell's state the item that lies on it.
                on_top = int(state.object_state_map[r, c]) if _name(kind) == "counter" else 0
                line += cooks.get((r, c), _character(kind)) + (_character(on_top) if on_top else " ")
            lines.append(line.rstrip())
        held = [_name(int(item)) for item in state.agent_inv[:, 0]]
        extra = state.extra_state
        pots = zip(extra["overcooked.pot_contents"].tolist(), extra["overcooked.pot_timer"].tolist(), strict=True)
        lines += [f"{agent} holds {item}" for agent, item in zip(AGENTS, held, strict=True)]
        for contents, timer in pots:
            inside = [_name(item) for item in contents if item != -1]
            cooking = f", {timer} frames to go" if len(inside) == len(contents) and timer else ""
            lines.append(f"pot: {', '.join(inside) or 'empty'}{cooking}")
        lines.append(f"frame {self._t} of {self.spec.parameters['max_steps']}, score {self._score:g}")
        return "\n".join(lines)

    def close(self) -> None:
        self._env.close()


def _no_features(state: Any, agent_index: int) -> None:
    return None


def _check_layout_of(env: Any) -> None:
    missing = [name for name in _PRIVATE if not hasattr(env, name)]
    state = getattr(env, "_env_state", None)
    missing += [f"_env_state.{name}" for name in (*_STATE_ARRAYS, "extra_state", "rng_key") if not hasattr(state, name)]
    if not missing and env.np_random.bit_generator.state.get("bit_generator") != "PCG64":
        missing.append("np_random over PCG64")
    if missing:
        wanted = f"a version this adapter knows (0.3.2): there is no {', '.join(missing)}"
        raise GameError("cogrid version", version("cogrid"), wanted)


def _arrays(state: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    for name in _STATE_ARRAYS:
        yield name, np.asarray(getattr(state, name))
    for name in sorted(state.extra_state):
        yield name, np.asarray(state.extra_state[name])


def _name(type_id: int) -> str:
    return str(idx_to_object(type_id, scope="overcooked")) if type_id > 0 else "nothing"


def _character(type_id: int) -> str:
    found = OBJECT_REGISTRY["overcooked"].get(_name(type_id)) or OBJECT_REGISTRY["global"].get(_name(type_id))
    return str(found.char) if found is not None else " "
