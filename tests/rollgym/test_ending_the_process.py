"""Whatever a game does to end the process that it runs in, a command says so and ends with the code that it means."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import rollgym
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
AT = 15
GAME = ("--game", "odd:Odd")

ENVIRONMENT = """
import os, sys
from gymnasium import spaces
from pettingzoo import ParallelEnv

class Odd(ParallelEnv):
    metadata = {"name": "odd", "render_fps": 30, "render_modes": ["ansi"]}
    possible_agents = ["a", "b"]

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def observation_space(self, agent):
        return spaces.Discrete(50)

    def action_space(self, agent):
        return spaces.Discrete(3)

    def render(self):
        return str(self.t)

    def reset(self, seed=None, options=None):
        self.agents, self.t = list(self.possible_agents), 0
        return {a: 0 for a in self.agents}, {a: {} for a in self.agents}

    def step(self, actions):
        self.t += 1
        if self.t == 15:
            exec(os.environ["WAY"])
        over = self.t == 30
        there = self.agents
        self.agents = [] if over else there
        return ({a: self.t for a in there}, {a: 0.0 for a in there}, {a: over for a in there},
                {a: False for a in there}, {a: {} for a in there})
"""

WAYS = {
    "os._exit(0)": ("SystemExit: os._exit(0)", "it ended with code 0"),
    "sys.exit(0)": ("SystemExit: 0", "SystemExit: 0"),
    "raise GeneratorExit": ("GeneratorExit", "GeneratorExit"),
}
"""What a game does, what is said of it in the process of the command, and what of a process of its own."""


FORKS = {
    "its child leaves": "child = os.fork()\nif not child: sys.exit(3)\nassert os.waitpid(child, 0)[1] == 3 << 8",
    "its child comes back": "child = os.fork()\nif child: assert os.waitpid(child, 0)[1] == 0",
}


def command(folder: Path, *arguments: object, way: str = "pass") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rollgym", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "WAY": way},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an episode of a game that did nothing of the kind."""
    folder = tmp_path_factory.mktemp("ending")
    (folder / "odd.py").write_text(ENVIRONMENT)
    code, said = command(folder, "simulate", *GAME, "--out", "data")
    assert code == 0, said
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_simulate_says_so_and_keeps_the_canonical_frames(folder: Path, way: str, tmp_path: Path) -> None:
    code, said = command(folder, "simulate", *GAME, "--out", tmp_path / "data", way=way)
    assert (code, WAYS[way][0] in said) == (1, True), said
    (episode,) = rollgym.load(tmp_path / "data")
    assert (episode.header.status, 0 < episode.frames < AT) == ("error", True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_verify_agrees_with_nothing_that_it_has_not_played(folder: Path, way: str, jobs: int) -> None:
    code, said = command(folder, "verify", "data", *GAME, "--jobs", jobs, way=way)
    assert (code in (1, 2), WAYS[way][1] in said) == (True, True), said


@pytest.mark.parametrize("way", WAYS)
def test_replay_says_so(folder: Path, way: str) -> None:
    (episode,) = (folder / "data" / "episodes").glob("*/*")
    code, said = command(folder, "replay", episode, *GAME, way=way)
    assert (code, WAYS[way][0] in said) == (2, True), said


@pytest.mark.parametrize("way", FORKS)
def test_what_an_environment_forks_plays_nothing_and_says_nothing(folder: Path, way: str, tmp_path: Path) -> None:
    """It has our connections and our files in its hands, by an exception or just by returning from step."""
    does = FORKS[way]
    code, said = command(folder, "check", "odd:Odd", "--frames", 60, way=does)
    assert code == 0, said
    code, said = command(folder, "simulate", *GAME, "--episodes", 2, "--out", tmp_path / "data", way=does)
    assert code == 0, said
    assert said.count("episode 0:") == said.count("episode 1:") == 1
    code, said = command(folder, "verify", tmp_path / "data", *GAME, "--jobs", 1, way=does)
    assert (code, said.count("agree")) == (0, 1), said
