"""What a run's summary says of episodes that the peers did not live to hear about."""

from __future__ import annotations

from pathlib import Path

import rollgym
from rollgym.experiment import Outcome
from tests.rollgym.stored import MATCH


def test_verdicts_that_no_peer_heard_come_from_the_dataset(data: Path) -> None:
    episodes = list(rollgym.load(data, match=MATCH))
    assert episodes
    known = {episode.number: episode.verdict for episode in episodes}
    outcome = Outcome(max(known) + 2, match=MATCH, peers=[None, None])
    outcome.read_verdicts(data)
    assert outcome.verdicts == known
    assert outcome.frames() == {n: max(e.frames for e in episodes if e.number == n) for n in known}
    assert max(known) + 1 not in outcome.verdicts


def test_without_a_match_or_a_dataset_nothing_is_known(data: Path, tmp_path: Path) -> None:
    for outcome, place in ((Outcome(1), data), (Outcome(1, match=MATCH), tmp_path)):
        outcome.read_verdicts(place)
        assert not outcome.verdicts
        assert not outcome.frames()
