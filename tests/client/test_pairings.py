"""What the server says of a match is kept until this client begins it, whatever comes first."""

from __future__ import annotations

from itertools import permutations

import pytest

from rollgym.client_sim.client.pairings import MAX_PAIRINGS, Pairings
from rollgym.protocol.messages import ANNULLED, ONLY_RELAY, MatchOver, MatchStart, PeerLeft, PlaySettings


def start(match: str) -> MatchStart:
    return MatchStart(match, 0, ("a", "b"), 1, PlaySettings(), "ticket", ONLY_RELAY, "matches/{episode}")


def test_an_annulled_match_is_never_begun() -> None:
    pairings = Pairings()
    assert pairings.add(start("one"))
    assert pairings.over(MatchOver("one", ANNULLED))
    assert pairings.next() is None
    assert pairings.add(start("two"))
    found = pairings.next()
    assert found is not None
    assert found.match == "two"
    assert not pairings.annulled("two")


@pytest.mark.parametrize("order", list(permutations(("left", "over", "next"))))
def test_the_order_in_which_things_come_does_not_matter(order: tuple[str, ...]) -> None:
    pairings = Pairings()
    pairings.add(start("one"))
    for what in order:
        if what == "left":
            assert pairings.left(PeerLeft("one", 1, "gone"))
            assert pairings.left(PeerLeft("one", 1, "gone"))
        elif what == "over":
            assert pairings.over(MatchOver("one", "incomplete"))
        else:
            assert pairings.next() is not None
    assert (pairings.who_left("one"), pairings.over_because("one")) == ([1], "incomplete")
    assert pairings.is_over("one")


def test_what_is_said_of_other_matches_is_not_kept() -> None:
    pairings = Pairings()
    assert not pairings.over(MatchOver("never heard of", ANNULLED))
    assert not pairings.left(PeerLeft("never heard of", 1))
    assert not pairings.is_over("never heard of")


def test_a_server_that_pairs_without_end_is_not_believed() -> None:
    pairings = Pairings()
    assert [pairings.add(start(str(n))) for n in range(MAX_PAIRINGS + 1)] == [True] * MAX_PAIRINGS + [False]
