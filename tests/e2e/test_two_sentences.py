"""The two sentences of the documents, through real processes and sockets, with environments that nobody wrote.

Whatever ``check`` calls safe is played to its end and verified by ``run``. Whatever is verified holds exactly what the
environment gave, for every frame, agent and key, in all four forms. What the environment gave is found out without
rollgym: the recorded actions are played again in an instance of its own, by its own methods.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings

import rollgym
from rollgym.dataset.load import Episode
from rollgym.games.adapters.adapted import environment_seed
from tests.rollgym.random_envs import LOGS, EnvPlan, make_from
from tests.rollgym.test_true import Truth, check_forms, env_plans

ROOT = Path(__file__).parents[2]
EXAMPLES = 40 if os.environ.get("ROLLGYM_SOAK") else 5

EXPERIMENT = """
experiment:
  name: sentences
  seed: 5
  game: {{id: "tests.rollgym.random_envs:make_from", parameters: {{file: {file}}}}}
  play: {{episodes: 1, fps: 20, frame_limit: 50, input_delay: 0}}
server: {{port: 0}}
bots: [{{policy: random, seed: 1}}, {{policy: random, seed: 2}}]
network: {{latency: 60ms, jitter: 20ms}}
"""

_played = {"episodes": 0, "frames": 0, "rollbacks": 0}


def rollgym_says(*arguments: object) -> tuple[int, Any]:
    """A command as a process of its own: its exit code, and the JSON it prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rollgym", *map(str, arguments), "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def replayed(plan: EnvPlan, file: Path, episode: Episode) -> dict[int, Any]:
    """What the environment gives for the recorded actions, by frame: no adapter, no rollback, no recorder."""
    env = make_from(str(file))
    env.reset(seed=environment_seed(episode.header.seed))
    for frame in range(plan.frames):
        env.step({key: episode.actions[str(key)][frame] for key in env.agents})
    assert env.agents == []
    returned: dict[int, Any] = LOGS.pop(id(env)).returned
    return returned


@settings(max_examples=EXAMPLES, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(plan=env_plans())
def test_what_check_calls_safe_is_played_and_what_is_verified_is_true(
    plan: EnvPlan, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sentences")
    drawn = folder / "plan.pickle"
    drawn.write_bytes(pickle.dumps(plan))
    experiment = folder / "sentences.yaml"
    experiment.write_text(EXPERIMENT.format(file=json.dumps(str(drawn))))
    game = ["tests.rollgym.random_envs:make_from", "--param", f"file={drawn}"]

    code, checked = rollgym_says("check", *game, "--frames", 2 * plan.frames)
    assert code == 0, checked

    code, report = rollgym_says("run", experiment, "--data", folder / "data")
    assert code == 0, report
    assert report["verified"] is True
    (episode,) = rollgym.load(folder / "data", verdict="verified")
    assert episode.frames == plan.frames
    check_forms(plan, [Truth(plan, replayed(plan, drawn, episode))], episode, folder)
    _played["episodes"] += 1
    _played["frames"] += plan.frames
    _played["rollbacks"] += report["rollbacks"]


def test_and_that_was_play() -> None:
    assert _played["episodes"] >= EXAMPLES
    assert _played["frames"] > _played["episodes"]
    assert _played["rollbacks"] > 0
