"""How much an upload may make of its bytes: a look at its structure before anything of it is built.

MessagePack says in one byte what takes Python a hundred (an empty map is one byte, and 64 as a ``dict``), and deflate
says a thousand such bytes in one. So the lengths that the body claims are read first, item by item and without objects.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
from msgspec import Struct

from rollgym.protocol.messages import PlaySettings

MAX_HEADER_BYTES = 1 << 20
MAX_FREE_BYTES = 1 << 16
"""Of each part of ``own`` that has no schema: ``stats``, ``policy``, ``software``."""
MAX_COLUMNS = 512
MAX_PLAYERS = 16
MAX_INFOS = 2_000_000
MAX_ROLLBACKS = 1_000_000
MAX_TAIL = 200_000
MAX_INFOS_PER_ROW = 1024
"""Info keys of one agent at one row."""
MAX_INFO_STRUCTURE_BYTES = 1 << 20
"""Of an info value that is a list or a map. Arrays, strings and bytes take what they say, and are not bounded."""

_PLAY = PlaySettings()
_NAME_BYTES = 64
_FIX_CONTAINERS = range(0x80, 0xA0)
_CONTAINERS = range(0xDC, 0xE0)


class BoundsError(ValueError):
    """A body that claims more than an export may have. ``field`` names the place."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class _Settings(Struct):
    fps: float = _PLAY.fps
    max_prediction: int = _PLAY.max_prediction
    input_delay: int = _PLAY.input_delay
    away_limit: float = _PLAY.away_limit


class _Game(Struct):
    agents: list[str]


class _Header(Struct):
    """What of the header the bounds depend on."""

    frames: int
    game: _Game
    settings: _Settings


class _Claims:
    """The numbers of items that a body claims, by place."""

    def __init__(self) -> None:
        self.infos = self.rollbacks = self.tail = 0
        self.header: bytes | None = None


def check_bounds(body: bytes) -> None:
    """Raise :class:`BoundsError` for a body that is no export, or one that would take much more memory than bytes.

    Takes time in proportion to ``body``, and a second copy of its longest part at most.
    """
    claims = _Claims()
    walk = _Walk(body)
    try:
        walk.map(
            "export",
            {
                "header": lambda: walk.keep(claims),
                "canonical": lambda: walk.map(
                    "canonical",
                    {
                        "columns": lambda: walk.most("canonical.columns", MAX_COLUMNS),
                        "infos": lambda: walk.count(claims, "infos"),
                    },
                ),
                "own": lambda: walk.map("own", _own(walk, claims)),
            },
        )
        if claims.header is None:
            raise BoundsError("header", "missing")
        header = msgspec.msgpack.decode(claims.header, type=_Header)
        _compare(claims, header)
    except BoundsError:
        raise
    except (msgpack.UnpackException, msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        raise BoundsError("export", f"not an export: {error or type(error).__name__}") from error


def bounded_value(data: bytes) -> bool:
    """Is an info's value small enough to be built, for its kind."""
    container = bool(data) and (data[0] in _FIX_CONTAINERS or data[0] in _CONTAINERS)
    return not container or len(data) <= MAX_INFO_STRUCTURE_BYTES


def _own(walk: _Walk, claims: _Claims) -> dict[str, Callable[[], None]]:
    return {
        "columns": lambda: walk.most("own.columns", MAX_COLUMNS),
        "rollbacks": lambda: walk.count(claims, "rollbacks"),
        "tail": lambda: walk.tail(claims),
        "stats": lambda: walk.short("own.stats"),
        "policy": lambda: walk.short("own.policy"),
        "software": lambda: walk.short("own.software"),
    }


def _compare(claims: _Claims, header: _Header) -> None:
    settings = header.settings
    away = settings.fps * settings.away_limit
    if header.frames < 0 or not 0 <= away <= 1_000_000:
        raise BoundsError("header", f"{header.frames} frames, {away} frames away: out of range")
    agents = min(len(header.game.agents), MAX_PLAYERS)
    # A peer is ahead of what is confirmed by its window, or by the time that it plays on while another is away.
    ahead = settings.max_prediction + settings.input_delay + math.ceil(away) + 64
    limits = {
        "canonical.infos": (claims.infos, min((header.frames + 1) * agents * MAX_INFOS_PER_ROW, MAX_INFOS)),
        "own.tail": (claims.tail, min(header.frames + ahead, MAX_TAIL)),
        # Every rollback is for an input that was not known before, and that happens once to an input.
        "own.rollbacks": (claims.rollbacks, min((header.frames + ahead) * agents, MAX_ROLLBACKS)),
    }
    for field, (items, most) in limits.items():
        if items > most:
            raise BoundsError(field, f"{items} items: at most {most} in {header.frames} frames")


class _Walk:
    """Goes through a body once. Only numbers and short names become objects."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._unpacker: Any = msgpack.Unpacker(io.BytesIO(body), max_buffer_size=max(len(body), 1))

    def map(self, place: str, inner: dict[str, Callable[[], None]]) -> None:
        """A map whose values are looked into by ``inner``; values of other names are passed over."""
        items = self._unpacker.read_map_header()
        if items > 64:
            raise BoundsError(place, f"{items} fields")
        for _ in range(items):
            inner.get(self._name(place), self._unpacker.skip)()

    def keep(self, claims: _Claims) -> None:
        claims.header = self._cut("header", MAX_HEADER_BYTES)

    def short(self, place: str) -> None:
        self._cut(place, MAX_FREE_BYTES)

    def most(self, place: str, limit: int) -> None:
        """A map of at most ``limit`` columns."""
        items = self._unpacker.read_map_header()
        if items > limit:
            raise BoundsError(place, f"{items} columns: at most {limit}")
        for _ in range(2 * items):
            self._unpacker.skip()

    def count(self, claims: _Claims, name: str) -> None:
        """A list; its length is noted, and added up if the body has it twice."""
        items = self._unpacker.read_array_header()
        setattr(claims, name, getattr(claims, name) + items)
        for _ in range(items):
            self._unpacker.skip()

    def tail(self, claims: _Claims) -> None:
        if self._body[self._unpacker.tell() : self._unpacker.tell() + 1] == b"\xc0":
            self._unpacker.skip()
            return
        self.map("own.tail", dict.fromkeys(("inputs", "real", "rewards"), lambda: self._rows(claims)))

    def _rows(self, claims: _Claims) -> None:
        rows = self._unpacker.read_array_header()
        claims.tail = max(claims.tail, rows)
        for _ in range(rows):
            values = self._unpacker.read_array_header()
            if values > MAX_PLAYERS:
                raise BoundsError("own.tail", f"{values} values in a row: at most {MAX_PLAYERS}")
            for _ in range(values):
                self._unpacker.skip()

    def _name(self, place: str) -> str:
        name = msgpack.unpackb(self._cut(place, _NAME_BYTES))
        if not isinstance(name, str):
            raise BoundsError(place, f"field {name!r}: expected a name")
        return name

    def _cut(self, place: str, limit: int) -> bytes:
        start = self._unpacker.tell()
        self._unpacker.skip()
        size = self._unpacker.tell() - start
        if size > limit:
            raise BoundsError(place, f"{size} bytes: at most {limit}")
        return self._body[start : start + size]
