"""A lab's repository has folders of its own called games, server, config ...: rollgym must not trip over them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FOLDERS = ("games", "server", "client_sim", "protocol", "config", "tests", "processes")
"""Each an ordinary package of the lab's, whose import would be noticed."""

ENVIRONMENT = """
    from pettingzoo import ParallelEnv
    from gymnasium import spaces
    import utils

    class Count(ParallelEnv):
        metadata = {"name": "count"}
        possible_agents = ["a", "b"]

        def observation_space(self, agent): return spaces.Discrete(100)
        def action_space(self, agent): return spaces.Discrete(2)

        def reset(self, seed=None, options=None):
            self.agents, self.t = list(self.possible_agents), utils.ZERO
            return {a: 0 for a in self.agents}, {a: {} for a in self.agents}

        def step(self, actions):
            self.t += 1
            over = self.t == 40
            live, self.agents = self.agents, [] if over else self.agents
            rewards, infos = {a: float(actions[a]) for a in live}, {a: {} for a in live}
            return {a: self.t for a in live}, rewards, {a: over for a in live}, {a: False for a in live}, infos

    def make():
        return Count()
"""

EXPERIMENT = """
experiment:
  name: clash
  seed: 3
  game: {id: "games.count:make"}
  play: {episodes: 1, fps: 200, frame_limit: 40}
server: {port: 0}
network: {latency: 5ms}
"""

Command = Callable[..., "subprocess.CompletedProcess[str]"]


PIP = ("-m", "pip", "--disable-pip-version-check", "-qq")
OPTIONS = ("--no-deps", "--no-build-isolation", "--no-index")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the built wheel was unpacked: what pip would put into site-packages."""
    built = tmp_path_factory.mktemp("wheel")
    pure = {**os.environ, "ROLLGYM_BUILD": "pure"}  # `make compiled` builds and tests the other one
    subprocess.run([sys.executable, *PIP, "wheel", *OPTIONS, "-w", built, ROOT], check=True, cwd=built, env=pure)
    unpacked = built / "site"
    found = built.glob("*.whl")
    subprocess.run([sys.executable, *PIP, "install", *OPTIONS, "-t", unpacked, *found], check=True, cwd=built)
    return unpacked


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the .pth file of an editable install names."""
    built = tmp_path_factory.mktemp("editable")
    target = built / "site"
    subprocess.run([sys.executable, *PIP, "install", *OPTIONS, "-t", target, "-e", ROOT], check=True, cwd=built)
    (named,) = target.glob("*.pth")
    return Path(named.read_text().strip())


@pytest.fixture(params=["editable", "wheel"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Command:
    """Runs Python in a lab's repository, with rollgym from an editable install or from a wheel."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "utils.py").write_text("ZERO = 0\n")
    (tmp_path / "games" / "count.py").write_text(textwrap.dedent(ENVIRONMENT))
    (tmp_path / "clash.yaml").write_text(EXPERIMENT)
    source = request.getfixturevalue(request.param)

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        # -P as for an installed command, which does not look for modules in the current folder either.
        return subprocess.run(
            [sys.executable, "-P", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(source)},
            capture_output=True,
            text=True,
            check=False,
        )

    return python


def test_the_right_packages_are_imported(lab: Command) -> None:
    code = "import rollgym, rollgym.games.registry, rollgym.server, sys; print(rollgym.load, 'games' in sys.modules)"
    for arguments in (["-c", code], ["-c", f"import sys; sys.path.insert(0, ''); {code}"]):
        done = lab(*arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("False\n")


def test_check_finds_the_labs_own_game(lab: Command) -> None:
    done = lab("-m", "rollgym", "check", "games.count:make", "--frames", "60", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert isinstance(json.loads(done.stdout), dict)


def test_run_plays_the_labs_own_game(lab: Command) -> None:
    done = lab("-m", "rollgym", "run", "clash.yaml", "--data", "data", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["verified"] is True
    assert report["frames"] == 40
