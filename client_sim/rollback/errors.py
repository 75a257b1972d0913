"""Errors of the rollback core. They carry data; the text is made where it is shown.

Whatever raises one of these has changed nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


class RollbackError(Exception):
    """Base of everything the core raises on purpose."""


@dataclass
class SettingsError(RollbackError):
    """A setting out of range, or two that do not go together."""

    field: str
    value: object
    expected: str

    def __str__(self) -> str:
        return f"{self.field} = {self.value!r}: expected {self.expected}"


@dataclass
class UnknownPlayer(RollbackError):
    """A player index that is not in the session, or not of the kind the call is for."""

    player: int
    expected: str

    def __str__(self) -> str:
        return f"player {self.player}: expected {self.expected}"


@dataclass
class InputGap(RollbackError):
    """Inputs that do not join the ones known: frames ``expected .. frame - 1`` are missing."""

    player: int
    frame: int
    expected: int

    def __str__(self) -> str:
        return f"inputs of player {self.player} start at frame {self.frame}: expected at most {self.expected}"


@dataclass
class InputTooFarAhead(RollbackError):
    """Inputs for frames that no honest peer can have reached."""

    player: int
    frame: int
    limit: int

    def __str__(self) -> str:
        return f"input of player {self.player} for frame {self.frame}: expected at most frame {self.limit}"


@dataclass
class InputWidth(RollbackError):
    """An input that is not bytes of the player's width."""

    player: int
    value: object
    width: int

    def __str__(self) -> str:
        return f"input {self.value!r} of player {self.player}: expected {self.width} bytes"


@dataclass
class InputConflict(RollbackError):
    """Another value for a frame whose input is known: inputs are facts and never change."""

    player: int
    frame: int
    known: bytes
    other: bytes

    def __str__(self) -> str:
        return (
            f"input of player {self.player} for frame {self.frame}: "
            f"{self.other.hex()} contradicts {self.known.hex()}, which is known"
        )


@dataclass
class InputRefused(RollbackError):
    """An input that its player cannot have: bytes that are no action, or filled in where or as it cannot be."""

    player: int
    frame: int
    value: bytes
    reason: str

    def __str__(self) -> str:
        return f"input {self.value.hex()} of player {self.player} for frame {self.frame}: {self.reason}"


@dataclass
class NotReady(RollbackError):
    """:meth:`Session.step` was called while the session could not step."""

    progress: str

    def __str__(self) -> str:
        return f"the session is {self.progress}: step is for a session that is ready"


@dataclass
class SyncTestFailed(RollbackError):
    """``S_frame`` came out differently when it was simulated again. ``fields`` names what differs, if that is known."""

    frame: int
    first: int
    again: int
    rolled_back_to: int
    fields: tuple[tuple[str, object, object], ...] = ()

    def __str__(self) -> str:
        text = (
            f"state of frame {self.frame} has digest {self.again:016x} after a rollback to frame "
            f"{self.rolled_back_to}, {self.first:016x} before"
        )
        if self.fields:
            name, one, two = self.fields[0]
            text += f"; first differing field {name}: {one!r} became {two!r}"
        return text


class InvariantViolation(RollbackError):
    """The core caught itself breaking its own rules. Always a defect; the episode cannot be trusted."""
