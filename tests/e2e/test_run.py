"""``rollgym run`` with real processes and real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

import rollgym
from rollgym.cli import app
from rollgym.config.shipped import builtin_config
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}


def _rollgym(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rollgym", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def _offline(*arguments: object, cwd: Path) -> Result:
    """A command that needs no process of its own, run in this one."""
    with contextlib.chdir(cwd):
        return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "100"})


def _alive(marker: str) -> list[int]:
    """Processes whose command line has the marker (a path that only this test uses)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if marker.encode() in command and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def _with_descendants(roots: list[int]) -> list[int]:
    """These processes, what they started, what that started, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = list(roots)
    for pid in found:
        found += children.get(pid, [])
    return found


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One run of config/ci.yaml: its folder and its summary."""
    folder = tmp_path_factory.mktemp("run")
    done = _rollgym("run", "config/ci.yaml", "--data", "data", "--json", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, json.loads(done.stdout)


def test_every_episode_is_played_and_verified(played: tuple[Path, dict[str, Any]]) -> None:
    _, summary = played
    assert [(e["episode"], e["frames"], e["verdict"]) for e in summary["episodes"]] == [
        (0, 240, "verified"),
        (1, 240, "verified"),
    ]
    assert summary["verified"]
    assert summary["failures"] == []
    assert summary["desyncs"] == 0
    assert summary["confirmed_frames"] == 480
    for peer in summary["peers"]:
        assert peer["confirmed_frames"] == 480
        assert peer["rollbacks"] > 10
        assert peer["rollback_depth_max"] >= 2
        assert peer["checksums_matched"] == peer["checksums_compared"] > 0
    assert 0 < summary["engine_share"] < 1
    assert 0 < summary["work_per_frame"] < summary["frame_seconds"] == 1 / 60
    assert summary["waiting"] == 0


def test_both_peers_exports_are_identical(played: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = played
    assert len(summary["exports"]) == 2
    for first, second in summary["exports"]:
        done = _offline("compare", first, second, cwd=folder)
        assert (done.exit_code, done.stdout.splitlines()[0][:21]) == (0, "identical: 240 frames")


def test_one_altered_value_is_found_and_named(played: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = played
    first, second = summary["exports"][1]
    table = pq.read_table(folder / second)
    rewards = table["rewards"].to_pylist()
    rewards[77][1] += 0.5
    place = table.schema.get_field_index("rewards")
    altered = table.set_column(place, table.schema.field(place), pa.array(rewards, table.schema.field(place).type))
    pq.write_table(altered, folder / "altered.parquet")
    done = _offline("compare", first, "altered.parquet", cwd=folder)
    assert done.exit_code == 1
    assert "first difference: frame 77, rewards[1]: " in done.stdout
    assert "rewards: 1 differing row\n" in done.stdout
    found = json.loads(_offline("compare", first, "altered.parquet", "--json", cwd=folder).stdout)
    assert (found["identical"], found["difference"]["frame"], found["difference"]["field"]) == (False, 77, "rewards")
    done = _offline("verify", "altered.parquet", cwd=folder)
    assert done.exit_code == 1
    assert "altered.parquet: replay differs: frame 77, rewards" in done.stdout


def test_every_kept_file_says_where_it_comes_from(played: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = played
    for path in summary["exports"][0]:
        (episode,) = rollgym.load(folder / path, experiment="ci", condition="rtt_80")
        player = str(episode.own_parts[0 if "player_0" in path else 1].player)
        assert len(episode.provenance["digests"][player]) == 64
        (bot,) = episode.provenance["players"].values()
        assert bot["policy"]["network"]["forward"]["latency"] == 0.04
        assert "python" in bot["software"]


def test_the_dataset_verifies(played: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = played
    done = _offline("verify", "data", "--json", cwd=folder)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["episodes"], found["frames"], found["failed"]) == (2, 480, 0)
    assert all(item["path"].startswith(summary["dataset"]) for item in found["files"])


def test_the_network_was_really_impaired(played: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = played
    own = pq.read_table(folder / summary["exports"][0][0], columns=["own/rtt"])["own/rtt"].to_pylist()
    known = [rtt for rtt in own if rtt is not None and rtt == rtt]
    assert len(known) > 100
    assert sorted(known)[len(known) // 2] > 0.06  # 40 ms each way, less 10 ms of jitter twice


def test_nothing_is_left_behind(played: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = played
    assert _alive(str(folder)) == []
    assert list((folder / "data" / "tmp").iterdir()) == []
    assert list((folder / "data").glob("runs/*/spool/*.export")) == []
    logs = sorted(path.name for path in Path(folder, summary["logs"]).iterdir())
    assert logs == ["peer_0.jsonl", "peer_1.jsonl", "server.jsonl"]
    for name in logs:
        lines = Path(folder, summary["logs"], name).read_text().splitlines()
        assert lines
        assert all(json.loads(line)["event"] for line in lines)


class _Running:
    """A run in the background; its lines as they come."""

    def __init__(self, folder: Path, config: str = "ci") -> None:
        command = [sys.executable, "-m", "rollgym", "run", config, "--data", str(folder / "data")]
        self.process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()

    def wait_for(self, text: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: any(text in line for line in self.lines), timeout=PATIENCE), self.lines

    def end(self) -> int:
        code = self.process.wait(timeout=PATIENCE)
        self._reader.join(timeout=PATIENCE)
        return code


@pytest.fixture
def running(tmp_path: Path) -> Iterator[_Running]:
    """Two episodes, the second of which is far from over when the first one is verified."""
    config = yaml.safe_load(builtin_config("ci").read_text())
    config["experiment"]["play"].update(frame_limit=120)
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(config))
    yield from _watched(_Running(tmp_path, "short.yaml"))


@pytest.fixture
def running_long(tmp_path: Path) -> Iterator[_Running]:
    """One episode that is far from over when its first line of progress comes."""
    config = yaml.safe_load(builtin_config("ci").read_text())
    config["experiment"]["play"].update(episodes=1, frame_limit=100_000)
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(config))
    yield from _watched(_Running(tmp_path, "long.yaml"))


def _watched(run: _Running) -> Iterator[_Running]:
    yield run
    if run.process.poll() is None:
        run.process.kill()
    run.end()
    assert run.process.stdout is not None
    run.process.stdout.close()


def test_ctrl_c_ends_everything_and_leaves_a_consistent_dataset(running: _Running, tmp_path: Path) -> None:
    running.wait_for("episode 1/2: verified")
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 1
    assert _alive(str(tmp_path)) == []
    text = "".join(running.lines)
    assert "interrupted" in text
    for episode in rollgym.load(tmp_path / "data"):
        assert f"episode {episode.number + 1}   {episode.frames:6} frames   {episode.verdict}" in text
    done = _offline("verify", tmp_path / "data", "--json", cwd=tmp_path)
    assert done.exit_code == 0, done.stdout
    assert json.loads(done.stdout)["episodes"] >= 1
    assert list((tmp_path / "data" / "tmp").iterdir()) == []


def test_ctrl_c_ends_everything_though_the_server_does_not_answer(running_long: _Running, tmp_path: Path) -> None:
    running = running_long
    running.wait_for("episode 1/1  frame")
    (server,) = [pid for pid in _alive(str(tmp_path)) if b"\0serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(server, signal.SIGSTOP)
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 1
    assert _alive(str(tmp_path)) == []
    # Each peer was given the time to put what it had played onto its disk.
    assert len(list((tmp_path / "data").glob("runs/*/spool/*.export"))) == 2
    last = [path.read_text().splitlines()[-1] for path in (tmp_path / "data").glob("runs/*/logs/peer_*.jsonl")]
    assert len(last) == 2
    assert all(json.loads(line)["event"] == "uploads stay in the spool for the next start" for line in last), last
    # And to say its last word, from which the summary is made.
    assert re.search(r"^rollbacks +\d+ \(\d+ \+ \d+\)", "".join(running.lines), re.MULTILINE), running.lines


def test_the_children_end_with_a_parent_that_was_killed(running: _Running, tmp_path: Path) -> None:
    running.wait_for("playing match")
    children = [pid for pid in _alive(str(tmp_path)) if pid != running.process.pid]
    assert len(children) == 3
    with contextlib.ExitStack() as stack:
        # The player processes and the server's workers included.
        ends = [os.pidfd_open(pid) for pid in _with_descendants(children)]
        assert len(ends) >= 3 + 2
        for end in ends:
            stack.callback(os.close, end)
        running.process.kill()
        running.end()
        for end in ends:
            assert select.select([end], [], [], PATIENCE)[0], "a process outlives its parent"


def test_an_occupied_port_is_said_before_anything_is_played(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = _rollgym("run", "ci", "--data", "data", "--port", port, cwd=tmp_path)
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is occupied" in done.stderr
    assert list(tmp_path.glob("data/episodes/*")) == []
    assert _alive(str(tmp_path)) == []
