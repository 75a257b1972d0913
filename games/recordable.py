"""Whether what a game says of itself can be recorded: names, columns and spaces within what an episode's file holds.

Looked at when a game is made, so that nothing is played in vain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from rollgym.games.contract import GameSpec
from rollgym.games.errors import GameError
from rollgym.games.spaces.described import leaves
from rollgym.protocol.column_names import is_writable
from rollgym.protocol.episode.bounds import MAX_COLUMNS, MAX_PLAYERS

NAME_LENGTH = 128
_OWN_COLUMNS = 8
"""Of an episode, whatever the game: frame, rewards, ends, sources, digests; the rest is room."""


def names_of(keys: Sequence[Hashable], field: str) -> tuple[str, ...]:
    """What the agents of an environment are called in the record: their own text, or how their key is written.

    Raises :class:`~rollgym.games.errors.GameError` if two of them would have one name, as 0 and ``"0"``.
    """
    names = tuple(key if isinstance(key, str) else str(key) for key in keys)
    for name, times in Counter(names).items():
        if times > 1:
            raise GameError(field, list(keys), f"agents that differ as text: {name!r} is there {times} times")
    return names


def check_recordable(spec: GameSpec) -> None:
    """Raises :class:`~rollgym.games.errors.GameError` that names what no episode's file can hold."""
    if not 1 <= len(spec.agents) <= MAX_PLAYERS:
        raise GameError("agents", len(spec.agents), f"1 to {MAX_PLAYERS} of them")
    for agent in spec.agents:
        check_name("agent name", agent, NAME_LENGTH)
    for field, text in (("game", spec.id), ("game version", spec.version)):
        check_name(field, text, NAME_LENGTH)
    parts = len(spec.agents) + sum(len(leaves(space)) for space in spec.observation_spaces)
    if parts > MAX_COLUMNS - _OWN_COLUMNS:
        expected = f"at most {MAX_COLUMNS - _OWN_COLUMNS}: an action and the parts of an observation for every agent"
        raise GameError("spaces", f"{parts} parts", expected)


def check_name(field: str, name: str, most: int) -> None:
    """Raises :class:`~rollgym.games.errors.GameError` for a name that is empty, too long or no Unicode text."""
    if not is_writable(name) or not 1 <= len(name) <= most:
        raise GameError(field, name, f"1 to {most} characters that UTF-8 has (no lone surrogates)")
