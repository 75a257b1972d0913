"""Bots: who decides the input of one player from what it sees.

A policy's randomness is counter-based: what it draws at a frame is a pure function of (its seed, the episode's
seed, its agent, the frame). Nothing has to be remembered, so a bot that skips or repeats a frame stays the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rollgym.games.code_names import find_callable, is_code_name, module_of, version_of
from rollgym.games.contract import GameSpec
from rollgym.games.errors import GameError
from rollgym.games.parameters import checked_integer
from rollgym.games.policies.callable_policy import policy_from
from rollgym.games.policies.policy_files import file_hash
from rollgym.games.policy import Policy, PolicySeat


class Entry(NamedTuple):
    """One policy that has a name here."""

    place: str
    """``module:class`` (or function), imported when it is made. It is called with a
    :class:`~rollgym.games.policy.PolicySeat` and keyword arguments, which are the policy's parameters."""
    summary: str
    needs_file: bool = False
    """It is nothing without the file at its ``path``: no NPC, and not to be made where nobody's code may run."""


_HERE = "rollgym.games.policies"
_BUILTIN = "rollgym.games.builtin"

POLICIES: dict[str, Entry] = {
    "random": Entry(f"{_HERE}.random_policy:every_frame", "a new random action every frame"),
    "random_hold": Entry(f"{_HERE}.random_policy:RandomPolicy", "a new random action every `hold` frames (4)"),
    "random_legal": Entry(f"{_HERE}.legal:LegalPolicy", "a random action that the `action_mask` it sees allows"),
    "idle": Entry(f"{_HERE}.idle:IdlePolicy", "the game's default action"),
    "scripted": Entry(f"{_HERE}.scripted:ScriptedPolicy", "`actions`, or a JSON list of them at `path`"),
    "tracker": Entry(f"{_BUILTIN}.pong.bot:TrackerPolicy", "plays Pong sensibly, `error` percent (120) off"),
    "echo": Entry(f"{_HERE}.echo:EchoPolicy", "an untrained network with a memory of `units` bytes (24)"),
    "cook": Entry(f"{_BUILTIN}.kitchen.bot:CookPolicy", "cooks in the kitchen, acts in every `pace`-th frame (4)"),
    "chef": Entry(
        f"{_BUILTIN}.overcooked.bot:ChefPolicy", "cooks in Overcooked, `slip` percent (10) of its moves at random"
    ),
    "onnx": Entry(f"{_HERE}.onnx_policy:OnnxPolicy", "the network in the ONNX file at `path`", needs_file=True),
    "sb3": Entry(
        f"{_HERE}.sb3_policy:Sb3Policy",
        "the Stable-Baselines3 model at `path`, of `algorithm` (PPO)",
        needs_file=True,
    ),
}
"""All of them, one entry each. Nothing else names them."""


def needs_file(name: str) -> bool:
    """Whether it is a policy of ours that is nothing without a file."""
    return name in POLICIES and POLICIES[name].needs_file


def available_policies() -> dict[str, str]:
    """All policies that can be made by name, each with a line about it."""
    return {name: entry.summary for name, entry in POLICIES.items()}


def policy_parameters(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` with the policy's defaults filled in, in the order of its declaration.

    Raises :class:`~rollgym.games.errors.GameError` for a policy or a parameter that does not exist, and for
    ``package.module:callable``, which declares nothing. Values are not looked at.
    """
    declared = _declared(_factory(name))
    _check_names(name, declared, given)
    return {parameter: given.get(parameter, default) for parameter, default in declared.items()}


def make_policy(name: str, game_spec: GameSpec, player: int, seed: int, **params: Any) -> Policy:
    """A policy for one player of a game: it decides for agent ``game_spec.seats[player]``.

    ``name`` is one of :func:`available_policies`, or ``package.module:callable``, whose code is imported: never pass
    on such a name from somebody else (:func:`policy_parameters` refuses them).
    ``0 <= seed < 2**63``. Raises :class:`~rollgym.games.errors.GameError` for a name that does not exist, a game it
    cannot play, and an unknown or ill-typed parameter.
    """
    if not 0 <= player < game_spec.players:
        raise GameError("player", player, f"0..{game_spec.players - 1}")
    seat = PolicySeat(game_spec, game_spec.seats[player], checked_integer("policy seed", seed, 0, 2**63 - 1))
    if is_code_name(name):
        return _from_code(name, seat, player, params)
    factory = _factory(name)
    _check_names(name, _declared(factory), params)
    policy: Policy = factory(seat, **params)
    return policy


def _from_code(name: str, seat: PolicySeat, player: int, params: dict[str, Any]) -> Policy:
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


def _check_names(name: str, declared: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    for given, value in params.items():
        if given not in declared:
            known = "a parameter named " + ", ".join(declared) if declared else "no parameters"
            raise GameError(f"{name}.{given}", value, known)


def _factory(name: Any) -> Callable[..., Any]:
    entry = POLICIES.get(name) if isinstance(name, str) else None
    if entry is None:
        raise GameError("policy", name, "one of " + ", ".join(POLICIES) + ", or, for players, package.module:callable")
    return find_callable("policy", entry.place)


def _declared(factory: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of a policy and their defaults: all that its class takes after the seat."""
    _, *parameters = inspect.signature(factory).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}
