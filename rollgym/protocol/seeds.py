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


def match_seed(experiment_seed: int, match: int) -> int:
    """The seed of an experiment's match ``match`` (counted from 0). ``0 <= result < SEED_LIMIT``.

    The first match has the experiment's own seed, so that a single match can be repeated by naming that number.
    """
    if match == 0:
        return experiment_seed % SEED_LIMIT
    text = f"rollgym/match-seed/{experiment_seed}/{match}".encode("ascii")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little") % SEED_LIMIT
