"""Bots that are networks in ONNX files, run by onnxruntime (extra ``onnx``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.contract import Observation
from rollgym.games.errors import GameError
from rollgym.games.policies.nearest import nearest
from rollgym.games.policies.policy_files import flat_vector, read_file, short
from rollgym.games.policy import PolicySeat
from rollgym.games.spaces.described import Space, leaves


class OnnxPolicy:
    """One network, asked with what its agent sees: it keeps nothing between two frames.

    The input is float32, one row ``(1, n)`` of all numbers of the observation
    (:func:`rollgym.games.policies.policy_files.flat_vector`);
    an observation that is a single Box may also go in with its own shape, ``(1, *shape)``. The output is one value for
    each action of a Discrete space (the first largest one wins), for a MultiDiscrete space those of its parts one after
    the other, and for a Box its values, which are clipped to its bounds.

    Raises :class:`~rollgym.games.errors.GameError` for a file, an input or an output that does not fit the seat.
    """

    def __init__(
        self,
        seat: PolicySeat,
        path: str | None = None,
        input: str | None = None,  # noqa: A002 - a parameter is called as users write it
        output: str | None = None,
    ) -> None:
        content = read_file("onnx.path", path)
        self._path = str(path)
        try:
            import onnxruntime
        except ImportError as error:
            raise GameError(
                "policy", "onnx", f"onnxruntime to be installed: pip install 'rollgym[onnx]' ({error})"
            ) from error
        self._errors = _errors_of_runtime()
        try:
            self._session: Any = onnxruntime.InferenceSession(
                content, sess_options=_options(onnxruntime), providers=["CPUExecutionProvider"]
            )
        except self._errors as error:
            raise GameError("onnx.path", self._path, f"a model that onnxruntime can load ({short(error)})") from error
        source = self._one("input", input, self._session.get_inputs())
        if len(self._session.get_inputs()) > 1:
            names = ", ".join(node.name for node in self._session.get_inputs())
            raise GameError("onnx.path", self._path, f"a model with one input, not {names}")
        if source.type != "tensor(float)":
            raise GameError("onnx.input", source.name, f"an input of float32, not {source.type}")
        self._input: str = source.name
        self._output: str = self._one("output", output, self._session.get_outputs()).name
        seen = seat.spec.observation_spaces[seat.agent]
        self._flat = flat_vector(seen)
        self._shape = self._input_shape(source.shape, seen)
        self._read = _reader(seat.spec.action_spaces[seat.agent])
        self._told = ""
        self._choose(np.zeros(self._shape, np.float32))  # the output's shape is known for sure once there is one

    def reset(self, seed: int) -> None:
        return None

    def act(self, observation: Observation, frame: int) -> Any:
        return self._choose(self._flat(observation).reshape(self._shape))

    def _choose(self, row: NDArray[np.float32]) -> Any:
        try:
            value = self._session.run([self._output], {self._input: row})[0]
        except self._errors as error:
            expected = f"a model that takes an input of shape {self._shape} ({short(error)})"
            raise GameError("onnx.path", self._path, expected) from error
        return self._read(self._output, value)

    def _one(self, field: str, name: str | None, nodes: Any) -> Any:
        named = {node.name: node for node in nodes}
        if name is None and len(named) == 1:
            return next(iter(named.values()))
        if not isinstance(name, str) or name not in named:
            raise GameError(f"onnx.{field}", name, f"one of the model's {field}s: {', '.join(named) or 'it has none'}")
        return named[name]

    def _input_shape(self, declared: Any, seen: Space) -> tuple[int, ...]:
        """The first shape the observation can have that fits the declared one, where names stand for any size."""
        parts = leaves(seen)
        size = sum(int(np.prod(leaf.shape, dtype=np.int64)) for leaf in parts)
        possible = [(1, size)] + ([(1, *parts[0].shape)] if len(parts) == 1 else [])
        for shape in possible:
            if not declared or (
                len(declared) == len(shape)
                and all(not isinstance(d, int) or d == n for d, n in zip(declared, shape, strict=True))
            ):
                return shape
        wanted = " or ".join(map(str, dict.fromkeys(possible)))
        raise GameError(
            "onnx.input", f"{self._input} of shape {list(declared)}", f"shape {wanted} for this observation"
        )


def _options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    # A bot shares its core with a game; and the order of additions in a sum must not depend on threads.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # errors are raised; the log would say them a second time
    return options


def _errors_of_runtime() -> tuple[type[Exception], ...]:
    """What onnxruntime raises: classes without a base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


def _reader(space: Space) -> Callable[[str, Any], Any]:
    """From the output to an action."""
    if isinstance(space, spaces.Discrete):
        count, start = int(space.n), int(space.start)
        return lambda name, value: start + int(np.argmax(_checked(name, value, count, space)))
    if isinstance(space, spaces.MultiDiscrete):
        ends = np.cumsum(space.nvec.ravel())
        total = int(ends[-1])

        def choose(name: str, value: Any) -> Any:
            parts = np.split(_checked(name, value, total, space), ends[:-1])
            best = np.array([np.argmax(part) for part in parts], dtype=space.dtype)
            return (best.reshape(space.shape) + space.start).astype(space.dtype)

        return choose
    if isinstance(space, spaces.Box):
        size = int(np.prod(space.shape, dtype=np.int64))
        return lambda name, value: nearest(space, _checked(name, value, size, space))
    raise GameError("policy", "onnx", f"an action space of Discrete, MultiDiscrete or Box, not {space}")


def _checked(name: str, value: Any, size: int, space: Space) -> NDArray[np.float64]:
    given = np.asarray(value)
    if given.dtype.kind not in "biuf" or given.size != size:
        raise GameError(
            "onnx.output", f"{name} of shape {list(given.shape)}, {given.dtype}", f"{size} numbers for {space}"
        )
    numbers = given.astype(np.float64).ravel()
    if np.isnan(numbers).any():
        raise GameError("onnx.output", f"{name} with NaN", "numbers")
    return numbers
