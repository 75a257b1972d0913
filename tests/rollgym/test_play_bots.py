"""When ``rollgym play`` says 0: if every episode that the match was to have is verified, and not only those it had."""

from __future__ import annotations

import pytest

from rollgym.client_sim.client.results import PlayResult
from rollgym.client_sim.peer.events import EpisodeEnded
from rollgym.commands.play_bots import _good
from rollgym.protocol.messages import Verdict
from rollgym.running.bots import Finished


def finished(verdicts: list[str], wanted: int, failure: str | None = None) -> Finished:
    ended = [EpisodeEnded(number, "complete", 9, 0, {}) for number in range(len(verdicts))]
    said = {number: Verdict("m", number, verdict) for number, verdict in enumerate(verdicts)}  # type: ignore[arg-type]
    return Finished(PlayResult(match="m", wanted=wanted, episodes=ended, verdicts=said, failure=failure))


@pytest.mark.parametrize(
    ("verdicts", "wanted", "good"),
    [
        (["verified", "verified"], 2, True),
        (["verified"], 2, False),  # a partner left between two episodes
        (["verified", "single"], 2, False),
        ([], 2, False),
        ([], 0, False),  # no match
    ],
)
def test_all_that_was_to_be_played_counts(verdicts: list[str], wanted: int, good: bool) -> None:
    assert _good(finished(verdicts, wanted)) is good
    assert not _good(finished(verdicts, wanted, failure="ValueError: x"))
