"""Bots trained with Stable-Baselines3 (extra ``sb3``). Loading a model runs code in it: only open your own."""

from __future__ import annotations

import pickle
import zipfile
from importlib import import_module
from typing import Any

import numpy as np
from gymnasium import spaces

from rollgym.games.contract import Observation
from rollgym.games.counter_rng import Draws
from rollgym.games.errors import GameError
from rollgym.games.policies.nearest import nearest
from rollgym.games.policies.policy_files import checked_file, flat_size, flat_vector, short
from rollgym.games.policy import PolicySeat
from rollgym.games.spaces.described import Space, leaves

ALGORITHMS = ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")


class Sb3Policy:
    """One trained model. It sees the observation as it is if the model was trained on a space of the same layout, or
    as one row of numbers (:func:`rollgym.games.policies.policy_files.flat_vector`) if the model has a Box of that many.

    With ``deterministic: false`` it draws from generators that are seeded anew for every frame with (the policy's seed,
    the episode's seed, the agent, the frame); these are the generators of the whole process.

    Raises :class:`~rollgym.games.errors.GameError` for a file or a model that does not fit the seat.
    """

    def __init__(
        self, seat: PolicySeat, path: str | None = None, algorithm: str = "PPO", deterministic: bool = True
    ) -> None:
        file = checked_file("sb3.path", path)
        if algorithm not in ALGORITHMS:
            raise GameError("sb3.algorithm", algorithm, "one of " + ", ".join(ALGORITHMS))
        if not isinstance(deterministic, bool):
            raise GameError("sb3.deterministic", deterministic, "true or false")
        try:
            library: Any = import_module("stable_baselines3")
            torch: Any = import_module("torch")
        except ImportError as error:
            raise GameError(
                "policy", "sb3", f"stable-baselines3 to be installed: pip install 'rollgym[sb3]' ({error})"
            ) from error
        torch.set_num_threads(1)  # a bot shares its core with a game, and sums do not depend on threads
        try:
            self._model: Any = getattr(library, algorithm).load(file, device="cpu")
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RuntimeError,
            ImportError,
            EOFError,
            AssertionError,
            pickle.UnpicklingError,
            zipfile.BadZipFile,
        ) as error:
            raise GameError("sb3.path", str(path), f"a model of {algorithm} ({short(error)})") from error
        self._seat = seat
        self._deterministic = deterministic
        self._action_space = seat.spec.action_spaces[seat.agent]
        self._see = _viewer(seat.spec.observation_spaces[seat.agent], self._model.observation_space)
        _check_actions(self._action_space, self._model.action_space)
        self._episode_seed = 0

    def reset(self, seed: int) -> None:
        self._episode_seed = seed

    def act(self, observation: Observation, frame: int) -> Any:
        if not self._deterministic:
            draws = Draws(self._seat.seed, self._episode_seed, self._seat.agent, frame)
            self._model.set_random_seed(draws.below(2**32))
        chosen, _ = self._model.predict(self._see(observation), deterministic=self._deterministic)
        space = self._action_space
        if isinstance(space, spaces.Discrete):
            return int(space.start) + int(np.asarray(chosen).item())
        values = np.asarray(chosen).reshape(space.shape or ())
        if isinstance(space, spaces.Box):
            return nearest(space, values.ravel())
        if isinstance(space, spaces.MultiDiscrete):
            return (values + space.start).astype(space.dtype)
        return values.astype(space.dtype)


def _viewer(seen: Space, wanted: Space) -> Any:
    if _layout(seen) == _layout(wanted):
        return lambda observation: observation
    size = flat_size(seen)
    if not isinstance(wanted, spaces.Box) or wanted.shape != (size,):
        expected = f"a model that sees {seen}, or a Box of shape ({size},)"
        raise GameError("sb3.path", f"a model that sees {wanted}", expected)
    flat, dtype = flat_vector(seen), wanted.dtype
    return lambda observation: flat(observation).astype(dtype)


def _layout(space: Space) -> Any:
    try:
        return [(leaf.path, leaf.shape) for leaf in leaves(space)]
    except GameError:  # a space that we have no layout for is not that of the seat
        return None


def _check_actions(space: Space, models: Space) -> None:
    if isinstance(space, spaces.Discrete):
        same = isinstance(models, spaces.Discrete) and int(models.n) == int(space.n)
    elif isinstance(space, spaces.MultiDiscrete):
        same = isinstance(models, spaces.MultiDiscrete) and np.array_equal(models.nvec, space.nvec)
    elif isinstance(space, spaces.Box | spaces.MultiBinary):
        same = type(models) is type(space) and models.shape == space.shape
    else:
        same = False
    if not same:
        raise GameError("sb3.path", f"a model that acts in {models}", f"a model that acts in {space}")
