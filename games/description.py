"""What is known of a game before it is played, found out in a process of its own.

Making a game runs other people's code: it may print, change the working directory, take signals, start an event loop,
or never return. So a process that serves connections does not make one. It asks :func:`described`, which does that in a
child process, and gets everything that has to be known of the game as plain data.
"""

from __future__ import annotations

import asyncio
import json
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from gymnasium import spaces
from msgspec import Struct

from rollgym.games.contract import GameSpec
from rollgym.games.errors import GameError, Unsafe
from rollgym.games.identity import identity
from rollgym.games.policies.catalogue import located, make_policy, needs_file
from rollgym.games.registry import check_parameters, is_plain, make
from rollgym.games.spaces.described import leaves
from rollgym.processes.channel import Channel
from rollgym.processes.parent import Child
from rollgym.protocol.messages import GameIdentity

DEADLINE = 120.0
"""Seconds in which a game has to be made. What takes longer has most probably stopped."""

_SHOWN = 12
# Lines of what a game printed that go into an error's notes.


class Driver(Struct, frozen=True):
    """A policy that is to play one seat."""

    policy: str
    parameters: dict[str, Any] = {}
    seed: int = 0


class Refusal(Struct, frozen=True):
    """A :class:`~rollgym.games.errors.GameError` as plain data. The value is there as text only."""

    field: str
    shown: str
    """``repr`` of the value."""
    text: str
    """``str`` of the value."""
    expected: str
    unsafe: bool = False

    @classmethod
    def of(cls, error: GameError) -> Refusal:
        return cls(error.field, repr(error.value), str(error.value), error.expected, isinstance(error, Unsafe))

    def error(self) -> GameError:
        """The error again, with the same text."""
        kind = Unsafe if self.unsafe else GameError
        return kind(self.field, _Shown(self.shown, self.text), self.expected)


class Description(Struct, frozen=True):
    """What is known of a game before it is played."""

    game: GameIdentity
    fps: int
    """Frames per second it is meant to be played at."""
    action_bytes: tuple[int, ...]
    """Per player: the width of an encoded action."""
    observation_bytes: tuple[int, ...]
    """Per agent: one observation, as it is recorded. Known from its space."""
    max_frames: int | None = None
    """An episode has no more frames than this, as the game itself says. None: it says nothing."""
    warnings: tuple[str, ...] = ()
    """What Python warned of while the game was made."""
    refused: dict[int, Refusal] = {}
    """Per seat: why its policy cannot play the game, of the policies that were asked about."""

    @classmethod
    def of(
        cls, spec: GameSpec, warnings: tuple[str, ...] = (), refused: Mapping[int, Refusal] | None = None
    ) -> Description:
        """What is known of a game that has been made."""
        return cls(
            identity(spec),
            spec.fps,
            tuple(codec.width for codec in spec.input_codecs),
            tuple(_bytes_of(space) for space in spec.observation_spaces),
            spec.max_frames,
            warnings,
            dict(refused or {}),
        )

    @property
    def players(self) -> int:
        """How many players the game seats."""
        return len(self.game.players)

    @property
    def row_bytes(self) -> int:
        """One frame of all agents' observations and actions, in a record. NPCs' actions are as wide as players'."""
        widest = max(self.action_bytes, default=0)
        return sum(self.observation_bytes) + sum(self.action_bytes) + widest * len(self.game.npcs)


class _Reply(Struct, frozen=True):
    description: Description | None = None
    refusal: Refusal | None = None


def describe(game_id: str, parameters: Mapping[str, Any] | None = None, drivers: Sequence[Driver] = ()) -> Description:
    """Make the game here and say what is known of it; its parameters include the NPCs.

    ``drivers`` are made too, one per seat: :attr:`Description.refused` says which cannot play. Raises
    :class:`~rollgym.games.errors.GameError`, also for whatever else the game's own code raises.
    """
    folder = Path.cwd()  # the game may change it
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            game = make(game_id, parameters)
        except GameError:
            raise
        except Exception as error:
            raise GameError("game", game_id, f"a game that can be made ({_place(error)})") from error
        try:
            spec = game.spec
            refused = _refused(spec, drivers, folder)
        finally:
            game.close()
    spoken = tuple(dict.fromkeys(f"{warning.category.__name__}: {warning.message}" for warning in caught))
    return Description.of(spec, spoken, refused)


def _refused(spec: GameSpec, drivers: Sequence[Driver], folder: Path) -> dict[int, Refusal]:
    refused = {}
    for player, driver in enumerate(drivers[: spec.players]):
        arguments = located(driver.policy, driver.parameters, folder)
        try:
            make_policy(driver.policy, spec, player, driver.seed, **arguments)
        except GameError as error:
            refused[player] = Refusal.of(error)
        except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
            expected = f"a policy that can be made ({_place(error)})"
            refused[player] = Refusal.of(GameError("policy", driver.policy, expected))
    return refused


def _bytes_of(space: spaces.Space[Any]) -> int:
    return sum(leaf.dtype.itemsize * int(np.prod(leaf.shape, dtype=np.int64)) for leaf in leaves(space))


def _place(error: Exception) -> str:
    """The error, and where it was raised."""
    name, frames = type(error).__name__, traceback.extract_tb(error.__traceback__)
    # A module that does not even compile has no line that ran; its error says where.
    if not frames or frames[-1].filename.startswith("<"):
        return f"{name}: {error}"
    return f"{name} in {frames[-1].filename}:{frames[-1].lineno}: {error}"


async def described(
    game_id: str,
    parameters: Mapping[str, Any] | None = None,
    drivers: Sequence[Driver] = (),
    *,
    deadline: float = DEADLINE,
    on_output: Callable[[str], None] = lambda line: None,
) -> Description:
    """:func:`describe` in a child process. ``on_output`` gets each line that the game prints meanwhile.

    Raises the same :class:`~rollgym.games.errors.GameError`, and one for a process that dies or takes longer than
    ``deadline`` seconds; what the game printed last is in its notes. A game of our own that comes with nothing of
    anybody else is made here: that is arithmetic, and a process would take a hundred times as long.
    """
    given = dict(parameters or {})
    if _is_ours(game_id, drivers):
        return describe(game_id, given, drivers)
    check_parameters(game_id, given)  # only what is JSON can be handed on
    child = await Child.start("rollgym.games.description:answer", on_output=on_output)
    # Not msgpack: a parameter may be a whole number of any size.
    child.send(json.dumps([game_id, given, [msgspec.to_builtins(driver) for driver in drivers]]).encode())
    received: bytes | None = None
    late = False
    try:
        async with asyncio.timeout(deadline):
            received = await child.receive()
            if received is None:
                await child.ended()
    except TimeoutError:
        late = True
    finally:
        # What it wanted to do after its answer is of no interest; what it printed before it is heard.
        ending = await child.close()
    if received is None:
        what = f"after {deadline:g} s it was not made" if late else f"its process died: {ending}"
        raise _noted(GameError("game", game_id, f"a game that can be made ({what})"), ending.tail)
    reply = msgspec.msgpack.decode(received, type=_Reply)
    if reply.refusal is not None:
        raise _noted(reply.refusal.error(), ending.tail)
    assert reply.description is not None
    return reply.description


def described_blocking(
    game_id: str,
    parameters: Mapping[str, Any] | None = None,
    drivers: Sequence[Driver] = (),
    *,
    deadline: float = DEADLINE,
    on_output: Callable[[str], None] = lambda line: None,
) -> Description:
    """:func:`described` for who has no event loop."""
    if _is_ours(game_id, drivers):
        return describe(game_id, parameters, drivers)
    return asyncio.run(described(game_id, parameters, drivers, deadline=deadline, on_output=on_output))


def answer(channel: Channel) -> None:
    """What the child does: one request, one reply."""
    asked = channel.receive()
    assert asked is not None
    game_id, parameters, drivers = json.loads(asked)
    try:
        reply = _Reply(describe(game_id, parameters, msgspec.convert(drivers, list[Driver])))
    except GameError as error:
        reply = _Reply(refusal=Refusal.of(error))
    channel.send(msgspec.msgpack.encode(reply))


def _is_ours(game_id: str, drivers: Sequence[Driver]) -> bool:
    return is_plain(game_id) and all(":" not in d.policy and not needs_file(d.policy) for d in drivers)


def _noted(error: GameError, printed: Sequence[str]) -> GameError:
    if printed:
        error.add_note("it printed:\n" + "\n".join(f"  {line}" for line in printed[-_SHOWN:]))
    return error


class _Shown:
    """A value that stayed in another process: what it looks like."""

    def __init__(self, shown: str, text: str) -> None:
        self._shown = shown
        self._text = text

    def __repr__(self) -> str:
        return self._shown

    def __str__(self) -> str:
        return self._text
