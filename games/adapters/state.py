"""Two ways to come back to an earlier state of an environment: write it back, or play the episode again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import xxhash
from gymnasium import spaces

from rollgym.games.adapters import native_state as natives
from rollgym.games.adapters.constants import Constants
from rollgym.games.contract import JointInput
from rollgym.games.errors import Unsafe
from rollgym.games.snapshot.gym_spaces import seed_spaces
from rollgym.games.snapshot.object_graph import Copier


class StateMethod(Protocol):
    """How an adapted game saves and loads what is inside its environment."""

    name: str
    limit: int | None
    """Frames after which an episode is truncated, or None."""

    def begin(self, seed: int) -> None:
        """Right before the environment is reset."""

    def stepped(self, joint: JointInput, seen: bytes) -> None:
        """Right after a step, with what it showed."""

    def save(self) -> Any:
        """The present state, as something that later steps never touch. Raises
        :class:`~rollgym.games.errors.Unsafe` for state that cannot be copied."""

    def load(self, snapshot: Any) -> None:
        """Go back to a snapshot of this instance and this episode. Raises :class:`~rollgym.games.errors.Unsafe` for
        another instance's, and where the environment does not come back to what it was."""

    def state_bytes(self, snapshot: Any) -> bytes:
        """The canonical bytes of a snapshot; the present state is left as it is."""

    def fields(self, snapshot: Any) -> Mapping[str, Any]:
        """A snapshot as plain values by their paths, for telling a person where two states differ."""


class Written:
    """The environment's own objects, saved and written back by :class:`~rollgym.games.snapshot.object_graph.Copier`.

    Every episode starts from the environment as it was constructed, so that nothing of an episode before can matter.
    What sampling from its spaces gives follows from the episode's seed.
    """

    limit: int | None = None

    def __init__(self, holder: Any, native: bool, constant: Sequence[str] = ()) -> None:
        """``native``: an environment's ``get_state`` and ``set_state`` are used where there are any. ``constant``:
        paths of what is left out (:mod:`rollgym.games.adapters.constants`).

        Raises :class:`~rollgym.games.errors.Unsafe` for what cannot be copied.
        """
        self.copier = Copier(holder)
        found = _native_part(holder.env) if native else None
        self.name = "native" if found is not None else "copy"
        self._pristine = None
        self._constants = None
        if found is not None:
            self.copier.teach(type(found), natives.NativeState())
            return
        if constant:
            self._constants = Constants(self.copier, constant)
        self._pristine = self.copier.save()
        self.copier.mark_constant(self._pristine)
        self._spaces = [item for item in self.copier.reached(self._pristine) if isinstance(item, spaces.Space)]

    def begin(self, seed: int) -> None:
        if self._pristine is not None:
            self.copier.load(self._pristine)
            if self._constants is not None:
                self._constants.verify()
            seed_spaces(self._spaces, seed)

    def stepped(self, joint: JointInput, seen: bytes) -> None:
        return None

    def save(self) -> Any:
        return self.copier.save()

    def load(self, snapshot: Any) -> None:
        self.copier.load(snapshot)

    def state_bytes(self, snapshot: Any) -> bytes:
        return self.copier.state_bytes(snapshot)

    def fields(self, snapshot: Any) -> Mapping[str, Any]:
        return self.copier.fields(snapshot)


def _native_part(env: Any) -> Any | None:
    """The outermost environment of a chain of wrappers that has a state of its own to give."""
    seen: set[int] = set()
    while env is not None and id(env) not in seen:
        seen.add(id(env))
        if natives.has_native_state(env):
            return env
        held = getattr(env, "__dict__", {})
        env = held.get("env", held.get("aec_env", held.get("par_env")))
    return None


class Past:
    """A state as the way to it: an episode's seed and its inputs, shared with the states before it."""

    __slots__ = ("before", "chain", "frames", "joint", "seed")

    def __init__(self, seed: int, before: Past | None, joint: JointInput, chain: bytes) -> None:
        self.seed, self.before, self.joint, self.chain = seed, before, joint, chain
        self.frames: int = 0 if before is None else before.frames + 1

    def inputs(self) -> list[JointInput]:
        """All joint inputs from the reset on."""
        found = []
        at: Past | None = self
        while at is not None and at.before is not None:
            found.append(at.joint)
            at = at.before
        return found[::-1]


class Replayed:
    """For environments whose state cannot be had: an episode is played again from its reset, up to the frame.

    A load costs as many steps as the episode is old, so episodes are truncated after ``limit`` frames. What stands in
    for the state is a digest chained over everything that was ever shown; a replay that shows anything else raises.
    """

    name = "replay"

    def __init__(self, limit: int, play: Callable[[Past], None]) -> None:
        """``play(past)`` resets and steps the game up to ``past``, through :meth:`begin` and :meth:`stepped`."""
        self.limit: int | None = limit
        self._play = play
        self._now = Past(0, None, (), b"")

    def begin(self, seed: int) -> None:
        self._now = Past(seed, None, (), b"")

    def stepped(self, joint: JointInput, seen: bytes) -> None:
        chain = xxhash.xxh3_128_digest(self._now.chain + seen)
        self._now = Past(self._now.seed, self._now, joint, chain)

    def save(self) -> Past:
        return self._now

    def load(self, snapshot: Past) -> None:
        if snapshot is self._now:
            return
        self._play(snapshot)
        if self._now.chain != snapshot.chain:
            expected = "an environment in which reset(seed) and equal actions always give the same"
            raise Unsafe(f"a replay of {snapshot.frames} frames", "not what was played", expected)
        self._now = snapshot

    def state_bytes(self, snapshot: Past) -> bytes:
        return snapshot.frames.to_bytes(8, "little") + snapshot.chain

    def fields(self, snapshot: Past) -> Mapping[str, Any]:
        return {"frame": snapshot.frames, "chain of everything shown": snapshot.chain.hex()}
