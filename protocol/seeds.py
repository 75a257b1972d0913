"""Every episode's seed follows from the match seed, so that one number reproduces a whole match."""

from __future__ import annotations

from hashlib import blake2b

SEED_LIMIT = 1 << 31
"""Seeds stay below this: some environments hand them to generators that take no more than 32 bits."""


def episode_seed(match_seed: int, episode: int) -> int:
    """The seed of episode ``episode`` (counted from 0). ``0 <= result < SEED_LIMIT``.

    BLAKE2b over both numbers, so that neighbouring match seeds share no episode seeds.
    """
    text = f"rollgym/episode-seed/{match_seed}/{episode}".encode("ascii")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little") % SEED_LIMIT
