"""Checksums: compared where both sides know the frame, reported once, bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rollgym.client_sim.rollback.checksums import KEPT, ChecksumBook, Desync


def settled(book: ChecksumBook) -> list[Desync]:
    book.compare()
    return book.take()


def test_either_side_may_be_first() -> None:
    for mine_first in (True, False):
        book = ChecksumBook(2)
        for frame in (10, 20, 30):
            if mine_first:
                book.own(frame, frame * 7)
                assert not settled(book)
            book.theirs(1, frame, frame * 7)
            if not mine_first:
                assert not settled(book)
                book.own(frame, frame * 7)
            assert book.due
            assert not settled(book)
            assert not book.due
        assert (book.compared, book.matched) == (3, 3)
        assert book.newest == (30, 210)


def test_the_first_mismatch_is_reported_once() -> None:
    book = ChecksumBook(3)
    for frame in (10, 20, 30):
        book.own(frame, 1)
    book.theirs(2, 30, 9)
    book.theirs(2, 20, 8)
    assert settled(book) == [Desync(20, 2, 1, 8)]
    book.theirs(1, 10, 7)
    book.theirs(2, 20, 8)
    assert settled(book) == []
    assert (book.compared, book.matched) == (3, 0), "a repeat is not compared again"


def test_frames_that_are_not_digested_here_are_no_mismatch() -> None:
    book = ChecksumBook(2)
    for frame in range(10, 200, 10):
        book.theirs(1, frame + 1, 99)
        book.own(frame, 1)
        assert not settled(book)
    assert book.compared == 0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("own"), st.integers(1, 40)),
            st.tuples(st.just("theirs"), st.integers(0, 5000)),
        ),
        max_size=400,
    )
)
def test_equal_states_never_alarm_and_memory_is_bounded(calls: list[tuple[str, int]]) -> None:
    book, frame = ChecksumBook(2), 0
    for kind, value in calls:
        if kind == "own":
            frame += value
            book.own(frame, frame ^ 0xABC)
        else:
            book.theirs(1, value, value ^ 0xABC)
        assert not settled(book)
        assert len(book._own) <= KEPT
        assert len(book._theirs[1]) <= KEPT
    assert book.matched == book.compared


def test_a_flood_from_the_future_is_bounded() -> None:
    book = ChecksumBook(2)
    for frame in range(10_000, 20_000):
        book.theirs(1, frame, frame)
    assert len(book._theirs[1]) == KEPT
    for frame in range(1, 1000):
        book.own(frame, frame)
    assert len(book._own) == KEPT
    assert not settled(book)


def test_what_is_older_than_anything_kept_is_passed_over() -> None:
    book = ChecksumBook(2)
    for frame in range(1, 1000):
        book.own(frame, frame)
    book.theirs(1, 3, 4)
    assert not settled(book)
    assert book.compared == 0


def test_what_is_forgotten_is_not_compared() -> None:
    book = ChecksumBook(3)
    for player in (1, 2):
        book.theirs(player, 10, 5)
    book.forget(1)
    book.own(10, 4)
    assert settled(book) == [Desync(10, 2, 4, 5)]
    assert book.compared == 1
