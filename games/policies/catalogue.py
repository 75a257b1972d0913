"""Bots: who decides the input of one player from what it sees.

A policy's randomness is counter-based: what it draws at a frame is a pure function of (its seed, the episode's
seed, its agent, the frame). Nothing has to be remembered, so a bot that skips or repeats a frame stays the same.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rollgym.games.builtin.kitchen.bot import CookPolicy
from rollgym.games.builtin.overcooked.bot import ChefPolicy
from rollgym.games.builtin.pong.bot import TrackerPolicy
from rollgym.games.code_names import find_callable, is_code_name, module_of, version_of
from rollgym.games.contract import GameSpec, Observation
from rollgym.games.counter_rng import Draws, sampler
from rollgym.games.errors import GameError
from rollgym.games.parameters import checked_integer
from rollgym.games.policies.callable_policy import policy_from
from rollgym.games.policies.echo import EchoPolicy
from rollgym.games.policies.legal import LegalPolicy
from rollgym.games.policies.onnx_policy import OnnxPolicy
from rollgym.games.policies.policy_files import file_hash
from rollgym.games.policies.sb3_policy import Sb3Policy
from rollgym.games.policy import Policy, Seat
from rollgym.games.spaces.codec import CodecError
from rollgym.games.spaces.from_json import from_json


class PolicyInfo(NamedTuple):
    """One line of the list of policies."""

    name: str
    summary: str
    parameters: tuple[str, ...]


class RandomPolicy:
    """Draws a new action every ``hold`` frames."""

    def __init__(self, seat: Seat, hold: int = 1) -> None:
        self._seat = seat
        self._hold = checked_integer("random_hold.hold", hold, 1)
        self._sample = sampler(seat.spec.action_spaces[seat.agent])
        self._episode_seed = 0
        self._held = -1
        self._action: Any = None

    def reset(self, seed: int) -> None:
        self._episode_seed = seed
        self._held = -1

    def act(self, observation: Observation, frame: int) -> Any:
        moment = frame // self._hold
        if moment != self._held:
            self._action = self._sample(Draws(self._seat.seed, self._episode_seed, self._seat.agent, moment))
            self._held = moment
        return self._action


class IdlePolicy:
    """Always does what the game says that a player who does nothing does."""

    def __init__(self, seat: Seat) -> None:
        self._action = seat.spec.default_actions[seat.agent]

    def reset(self, seed: int) -> None:
        return None

    def act(self, observation: Observation, frame: int) -> Any:
        return self._action


class ScriptedPolicy:
    """Plays a list of actions, one per frame, then idles or, with ``repeat``, starts again."""

    def __init__(
        self, seat: Seat, actions: Sequence[Any] | None = None, path: str | None = None, repeat: bool = False
    ) -> None:
        if (actions is None) == (path is None):
            raise GameError("scripted", {"actions": actions, "path": path}, "either actions or path")
        if not isinstance(repeat, bool):
            raise GameError("scripted.repeat", repeat, "true or false")
        given = _read_script(path) if path is not None else actions
        if not isinstance(given, list | tuple) or not given:
            raise GameError("scripted.actions", given, "a list of at least one action")
        space, codec = seat.spec.action_spaces[seat.agent], seat.spec.codecs[seat.agent]
        self._actions = []
        for index, value in enumerate(given):
            try:
                action = from_json(space, value)
                codec.encode(action)
            except (CodecError, ValueError, TypeError, KeyError, OverflowError) as error:
                raise GameError(f"scripted.actions[{index}]", value, f"a member of {space} ({error})") from error
            self._actions.append(action)
        self._idle = seat.spec.default_actions[seat.agent]
        self._repeat = repeat

    def reset(self, seed: int) -> None:
        return None

    def act(self, observation: Observation, frame: int) -> Any:
        if self._repeat:
            return self._actions[frame % len(self._actions)]
        return self._actions[frame] if 0 <= frame < len(self._actions) else self._idle


def _read_script(path: Any) -> Any:
    if not isinstance(path, str | Path):
        raise GameError("scripted.path", path, "the path of a JSON file")
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise GameError("scripted.path", str(path), f"a readable file ({error.strerror})") from error
    except ValueError as error:
        raise GameError("scripted.path", str(path), f"a JSON list of actions ({error})") from error


def _random(seat: Seat) -> Policy:
    return RandomPolicy(seat)


def _random_hold(seat: Seat, hold: int = 4) -> Policy:
    return RandomPolicy(seat, hold)


_POLICIES: dict[str, tuple[Callable[..., Policy], PolicyInfo]] = {
    info.name: (factory, info)
    for factory, info in (
        (_random, PolicyInfo("random", "a new random action every frame", ())),
        (_random_hold, PolicyInfo("random_hold", "a new random action every `hold` frames (4)", ("hold",))),
        (LegalPolicy, PolicyInfo("random_legal", "a random action that the `action_mask` it sees allows", ())),
        (IdlePolicy, PolicyInfo("idle", "the game's default action", ())),
        (
            ScriptedPolicy,
            PolicyInfo("scripted", "`actions`, or a JSON list of them at `path`", ("actions", "path", "repeat")),
        ),
        (TrackerPolicy, PolicyInfo("tracker", "plays Pong sensibly, `error` percent (120) off", ("error",))),
        (EchoPolicy, PolicyInfo("echo", "an untrained network with a memory of `units` bytes (24)", ("units",))),
        (CookPolicy, PolicyInfo("cook", "cooks in the kitchen, acts in every `pace`-th frame (4)", ("slip", "pace"))),
        (ChefPolicy, PolicyInfo("chef", "cooks in Overcooked, `slip` percent (10) of its moves at random", ("slip",))),
        (OnnxPolicy, PolicyInfo("onnx", "the network in the ONNX file at `path`", ("path", "input", "output"))),
        (
            Sb3Policy,
            PolicyInfo(
                "sb3",
                "the Stable-Baselines3 model at `path`, of `algorithm` (PPO)",
                ("path", "algorithm", "deterministic"),
            ),
        ),
    )
}


NEEDS_FILE = ("onnx", "sb3")
"""Policies that are nothing without the file at their ``path``."""


def available_policies() -> list[PolicyInfo]:
    """All policies that can be made by name."""
    return [info for _, info in _POLICIES.values()]


def policy_parameters(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` with the policy's defaults filled in, in the order of its declaration.

    Raises :class:`~rollgym.games.errors.GameError` for a policy or a parameter that does not exist, and for
    ``package.module:callable``, which declares nothing. Values are not looked at.
    """
    factory, info = _found(name)
    _check_names(info, given)
    declared = inspect.signature(factory).parameters
    return {parameter: given.get(parameter, declared[parameter].default) for parameter in info.parameters}


def make_policy(name: str, game_spec: GameSpec, player: int, seed: int, **params: Any) -> Policy:
    """A policy for one player of a game: it decides for agent ``game_spec.seats[player]``.

    ``name`` is one of :func:`available_policies`, or ``package.module:callable``, whose code is imported: never pass
    on such a name from somebody else (:func:`policy_parameters` refuses them).
    ``0 <= seed < 2**63``. Raises :class:`~rollgym.games.errors.GameError` for a name that does not exist, a game it
    cannot play, and an unknown or ill-typed parameter.
    """
    if not 0 <= player < game_spec.players:
        raise GameError("player", player, f"0..{game_spec.players - 1}")
    seat = Seat(game_spec, game_spec.seats[player], checked_integer("policy seed", seed, 0, 2**63 - 1))
    if is_code_name(name):
        return _from_code(name, seat, player, params)
    factory, info = _found(name)
    _check_names(info, params)
    return factory(seat, **params)


def _from_code(name: str, seat: Seat, player: int, params: dict[str, Any]) -> Policy:
    policy: Policy = policy_from(name, seat, player, params)
    return policy


def located(name: str, params: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``params``, with the file at ``path`` of a policy of ours named from the root.

    It is where the command was given, ``folder``: a game may have changed the current folder since.
    """
    path = params.get("path")
    if is_code_name(name) or not isinstance(path, str):
        return dict(params)
    return {**params, "path": str(folder / path)}


def policy_origin(name: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Which code or file a policy comes from, for the record; empty for one that is ours and reads no file.

    ``source`` is the version of the named code, which is imported; ``file_blake3`` the hash of the file at ``path``.
    Raises :class:`~rollgym.games.errors.GameError` for a name that leads nowhere and a file that cannot be read.
    """
    if is_code_name(name):
        find_callable("policy", name)
        return {"source": version_of(module_of(name))}
    return {"file_blake3": file_hash(params["path"])} if params.get("path") is not None else {}


def _check_names(info: PolicyInfo, params: Mapping[str, Any]) -> None:
    for given, value in params.items():
        if given not in info.parameters:
            known = "a parameter named " + ", ".join(info.parameters) if info.parameters else "no parameters"
            raise GameError(f"{info.name}.{given}", value, known)


def _found(name: Any) -> tuple[Callable[..., Policy], PolicyInfo]:
    found = _POLICIES.get(name) if isinstance(name, str) else None
    if found is None:
        raise GameError("policy", name, "one of " + ", ".join(_POLICIES) + ", or, for players, package.module:callable")
    return found
