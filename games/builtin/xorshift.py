"""The random generator of our own games: 32 bits of state, so that it fits in a snapshot as one integer."""

from __future__ import annotations

REFERENCE_RNG = 0x9E3779B9


def start_rng(seed: int) -> int:
    """The first state for an episode's seed, never 0. Seed 0 gives :data:`REFERENCE_RNG`."""
    if seed == 0:
        return REFERENCE_RNG
    # splitmix64 (Steele, Lea, Flood 2014) spreads neighbouring seeds; its high half is folded into the low one.
    z = (seed + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    z ^= z >> 31
    return (z ^ z >> 32) & 0xFFFFFFFF or REFERENCE_RNG


def xorshift32(rng: int) -> int:
    """The state after ``rng`` (Marsaglia 2003, shifts 13, 17, 5)."""
    rng ^= rng << 13 & 0xFFFFFFFF
    rng ^= rng >> 17
    return rng ^ (rng << 5 & 0xFFFFFFFF)
