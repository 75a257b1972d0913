"""Who gets where when several cooks move at once."""

from __future__ import annotations

from rollgym.games.builtin.xorshift import xorshift32


def without_collisions(rng: int, cells: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Where the cooks end up who want to go from ``cells`` to ``wanted``, and the generator after the draws.

    Of two who want the same cell a drawn one gets it, unless the other stands there already. Nobody passes through
    anybody. Who cannot go stays, which may stop another; every round stops somebody, so it ends.
    """
    now = list(wanted)
    pairs = [(a, b) for b in range(len(cells)) for a in range(b)]
    settled = False
    while not settled:
        settled = True
        for a, b in pairs:
            if now[a] == now[b]:
                if now[a] == cells[a]:
                    loser = b
                elif now[b] == cells[b]:
                    loser = a
                else:
                    rng = xorshift32(rng)
                    loser = a if rng >> 16 & 1 else b
                now[loser] = cells[loser]
                settled = False
            elif now[a] == cells[b] and now[b] == cells[a]:
                now[a], now[b] = cells[a], cells[b]
                settled = False
    return rng, tuple(now)
