"""What a run's summary says of episodes that the peers did not live to hear about."""

from __future__ import annotations

from pathlib import Path

import pytest

import rollgym
from rollgym.commands.run import _summary
from rollgym.config.file import ExperimentFile
from rollgym.running.experiment import Outcome, RunFolder
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


def test_the_summary_tells_not_judged_from_not_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    word = {"episodes": [{"episode": 0, "frames": 9, "stats": {}}], "kept": [], "desyncs": 0, "stats": {}}
    outcome = Outcome(2, match=MATCH, peers=[{**word, "engine_share": None}] * 2)
    _summary(outcome, ExperimentFile(), 60, tmp_path, RunFolder(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["episode 1        9 frames   not judged", "episode 2        0 frames   not played"]
    outcome.peers[1] = None
    _summary(outcome, ExperimentFile(), 60, tmp_path, RunFolder(tmp_path))
    assert "episode 2        0 frames   not judged\n" in capsys.readouterr().out
