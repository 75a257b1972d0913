"""The order in which a study's matches are played, and their seeds: functions of the study's seed and nothing else.

A slot is one match that a condition is to have. A match that is lost is played again in its own slot, as another
attempt. So where a study stands is said by its slots alone, whoever played them, on however many machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from rollgym.protocol.seeds import SEED_LIMIT


class Slot(NamedTuple):
    """One match of a condition."""

    condition: str
    number: int
    """Of the condition's matches, from 0."""


def fixed(seed: int, matches: Mapping[str, int], weights: Mapping[str, float]) -> list[Slot]:
    """One match of each condition in the order of the file, then the second of each, and so on."""
    del seed, weights
    return [slot for block in _blocks(matches) for slot in block]


def blocked(seed: int, matches: Mapping[str, int], weights: Mapping[str, float]) -> list[Slot]:
    """Permuted blocks: as ``fixed``, each block shuffled. At any moment conditions differ by one match at most."""
    del weights
    return [slot for block in _blocks(matches) for slot in sorted(block, key=lambda slot: _number(seed, "block", slot))]


def shuffled(seed: int, matches: Mapping[str, int], weights: Mapping[str, float]) -> list[Slot]:
    """All matches, shuffled."""
    return weighted(seed, matches, dict.fromkeys(weights, 1.0))


def weighted(seed: int, matches: Mapping[str, int], weights: Mapping[str, float]) -> list[Slot]:
    """Drawn without replacement: the next match is one of a condition with a probability in proportion to its weight
    and to how many it still lacks. Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006)."""

    def when(slot: Slot) -> float:
        return -math.log((_number(seed, "draw", slot) + 1) / 2**64) / weights.get(slot.condition, 1.0)

    drawn = sorted((slot for block in _blocks(matches) for slot in block), key=when)
    # Which condition comes when is what was drawn; its matches come in their order.
    following = dict.fromkeys(matches, 0)
    for place, slot in enumerate(drawn):
        drawn[place] = Slot(slot.condition, following[slot.condition])
        following[slot.condition] += 1
    return drawn


Order = Callable[[int, Mapping[str, int], Mapping[str, float]], list[Slot]]

ORDERS: dict[str, Order] = {"random": shuffled, "blocked": blocked, "weighted": weighted, "fixed": fixed}
"""What a file can name. Arguments: the study's seed; matches of each condition; weights, 1 where none is given."""


def slot_seed(seed: int, slot: Slot, attempt: int, *, paired: bool) -> int:
    """The seed of a match. ``paired``: the same in every condition. Each attempt at a slot has its own."""
    return _number(seed, "match", Slot("" if paired else slot.condition, slot.number), attempt) % SEED_LIMIT


def _blocks(matches: Mapping[str, int]) -> Sequence[list[Slot]]:
    most = max(matches.values(), default=0)
    return [[Slot(name, number) for name, count in matches.items() if number < count] for number in range(most)]


def _number(seed: int, use: str, slot: Slot, attempt: int = 0) -> int:
    """64 bits that nothing else has: every part has its place, so that no two inputs read alike."""
    name = slot.condition.encode()
    text = b"%d %s %d %d %d " % (seed, use.encode(), slot.number, attempt, len(name)) + name
    return int.from_bytes(blake2b(text, digest_size=8).digest())
