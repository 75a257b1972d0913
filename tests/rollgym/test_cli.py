"""The command line: exit codes, what is printed, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from rollgym.cli import app
from rollgym.protocol.build_form import build_form
from tests.rollgym.stored import play, write_export

VERBS = ("run", "serve", "play", "simulate", "check", "compare", "verify", "replay", "export", "games")
IMPAIRED = ("--latency", "40ms", "--jitter", "10ms", "--loss", "2%")


def rollgym(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def _json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports of both players of two short episodes."""
    folder = tmp_path_factory.mktemp("exports")
    for group in play(frames=120, episodes=2):
        for export in group:
            write_export(folder, export)
    return folder


def test_without_a_verb_it_shows_help_with_all_verbs() -> None:
    done = rollgym()
    assert done.exit_code == 0
    assert all(f"\n  {verb} " in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_and_its_exit_codes(verb: str) -> None:
    done = rollgym(verb, "--help")
    assert done.exit_code == 0
    assert f"Example: rollgym {verb}" in done.stdout
    assert "--json" in done.stdout or verb in ("serve", "replay")


def test_version() -> None:
    done = rollgym("--version")
    assert done.exit_code == 0
    assert done.stdout.startswith("rollgym ")
    assert done.stdout.endswith(f" ({build_form()})\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nope"], "No such command 'nope'"),
        (["compare"], "Missing argument"),
        (["compare", "a", "b", "--jsn"], "No such option: --jsn"),
        (["simulate"], "nothing to play: name a game (--game pong)"),
        (["simulate", "--game", "pnog"], "game = 'pnog': expected one of drift, pong"),
        (["simulate", "--game", "pong", "--param", "points=many"], "pong.points = 'many': expected an integer 1..99"),
        (["simulate", "--game", "pong", "--param", "points"], "'points': expected KEY=VALUE"),
        (["simulate", "--game", "pong", "--param", "points=1", "--param", "points=2"], "points: given twice"),
        (["simulate", "--game", "pong", "--param", "points=["], "'points=[': not a value"),
        (["simulate", "--game", "pong", "--episodes", "0"], "--episodes"),
        (["simulate", "--game", "pong", "--npc", "left"], "--npc: 'left': expected AGENT=POLICY"),
        (["simulate", "--game", "pong", "--npc", "top=random"], "npcs agent = 'top': expected one of left, right"),
        (["simulate", "--game", "pong", "--npc", "left=smart"], "policy = 'smart': expected one of random"),
        (["simulate", "--game", "pong", "--npc", "left=idle", "--param", "npcs={}"], "exclude each other"),
        (["simulate", "--game", "pong", "--fps", "x"], "Invalid value for '--fps'"),
        (["simulate", "--game", "pong", "--latency", "fast"], "--latency: 'fast': expected a time such as 40ms"),
        (["simulate", "--game", "pong", "--latency", "0.05"], "write 0.05ms or 0.05s"),
        (["simulate", "--game", "pong", "--latency", "-5"], "--latency: -0.005: expected seconds, 0 or more"),
        (["simulate", "--game", "pong", "--loss", "2"], "--loss: '2': expected a probability from 0 to 1"),
        (["simulate", "--game", "pong", "--burst", "2%"], "--burst: '2%': expected P:N"),
        (["simulate", "--game", "pong", "--burst", "2%:0"], "--burst: 0: expected at least 1 packet"),
        (["simulate", "--game", "pong", "--network", "moon"], "--network: 'moon': expected one of local, lan"),
        (["simulate", "--game", "pong", "--network", "lan", "--loss", "1%"], "a name and --loss exclude each other"),
        (["simulate", "--game", "pong", "--pause", "0:1"], "--pause: '0:1': expected PLAYER:AT:SECONDS"),
        (["simulate", "--game", "pong", "--pause", "0:-1:2"], "expected PLAYER:AT:SECONDS, none negative"),
        (["simulate", "--game", "pong", "--pause", "7:1:1"], "--pause: player 7: expected 0..1"),
        (["simulate", "--game", "pong", "--policy", "smart"], "policy = 'smart': expected one of random"),
        (["simulate", "--game", "drift", "--policy", "tracker"], "tracker plays pong only"),
        (["games", "pnog"], "game = 'pnog': expected one of drift, pong"),
        (["run", "nope.yaml"], "nope.yaml: cannot be read: No such file or directory"),
        (["run", "nope"], "built-in config 'nope' does not exist; expected one of: ci, drift, kitchen_npc, overcooked"),
        (["serve", "nope"], "built-in config 'nope' does not exist"),
        (["play", "--url", "http://127.0.0.1:1"], "no rollgym server answers at http://127.0.0.1:1"),
        (["verify", "nope"], "nope: no such file or folder"),
    ],
)
def test_what_cannot_be_used_is_named_and_ends_with_2(
    arguments: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = rollgym(*arguments)
    assert done.exit_code == 2, done.output
    assert text in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_compare_says_identical_different_or_unusable(exports: Path, tmp_path: Path) -> None:
    one, two = exports / "episode_001.player_0.parquet", exports / "episode_001.player_1.parquet"
    done = rollgym("compare", one, two)
    assert (done.exit_code, done.stdout.split(",")[0]) == (0, "identical: 120 frames")
    table = pq.read_table(two)
    actions = table["actions/left"].to_pylist()
    actions[30] = [2 - actions[30][0]] if actions[30][0] != 1 else [0]
    place = table.schema.get_field_index("actions/left")
    field = table.schema.field(place)
    pq.write_table(table.set_column(place, field, pa.array(actions, field.type)), tmp_path / "altered.parquet")
    done = rollgym("compare", one, tmp_path / "altered.parquet")
    assert done.exit_code == 1
    assert "first difference: frame 30, actions/left[0]: " in done.stdout
    assert "  actions/left: 1 differing row\n" in done.stdout
    found = json.loads(rollgym("compare", one, tmp_path / "altered.parquet", "--json").stdout)
    assert found["difference"]["frame"] == 30
    assert found["difference"]["field"] == "actions/left"
    assert found["differing_rows"] == {"actions/left": 1}
    (tmp_path / "empty.parquet").write_bytes(b"")
    done = rollgym("compare", one, tmp_path / "empty.parquet")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "empty.parquet: not a readable episode" in done.stderr


def test_another_episode_of_the_same_match_differs(exports: Path) -> None:
    done = rollgym("compare", exports / "episode_000.player_0.parquet", exports / "episode_001.player_0.parquet")
    assert done.exit_code == 1
    assert "header.episode" in done.stdout
    assert "header.seed" in done.stdout


def test_an_npc_takes_a_seat(tmp_path: Path) -> None:
    arguments = ("--game", "kitchen", "--param", "cooks=3", "--frames", 90, "--out", tmp_path, "--json")
    npc = ("--npc", "cook_0={policy: random_hold, seed: 3}")
    found = _json(rollgym("simulate", *arguments, *npc, *IMPAIRED))
    assert (found["verdicts"], len(found["peers"]), found["frames"]) == (["verified"], 2, 90)
    (facts,) = tmp_path.rglob("canonical.parquet")
    table = pq.read_table(facts)
    assert {tuple(row) for row in table["input_source"].to_pylist()[:-1]} == {(2, 0, 0)}
    assert len({tuple(row) for row in table["actions/cook_0"].to_pylist()[:-1]}) > 3


def test_verify_names_what_differs(exports: Path, tmp_path: Path) -> None:
    found = _json(rollgym("verify", exports, "--json"))
    assert (found["episodes"], found["failed"], found["frames"]) == (4, 0, 480)
    source = pq.read_table(exports / "episode_000.player_0.parquet")
    place = source.schema.get_field_index("rewards")
    rewards = source["rewards"].to_pylist()
    rewards[5][0] += 1
    field = source.schema.field(place)
    pq.write_table(source.set_column(place, field, pa.array(rewards, field.type)), tmp_path / "altered.parquet")
    (tmp_path / "whole.parquet").write_bytes((exports / "episode_000.player_0.parquet").read_bytes())
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    done = rollgym("verify", tmp_path, "--jobs", 2)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert "altered.parquet: replay differs: frame 5, rewards" in lines[0]
    assert "broken.parquet: not a readable episode" in lines[1]
    assert lines[2] == "2 of 3 differ (240 frames)"
    done = rollgym("verify", tmp_path / "whole.parquet")
    assert (done.exit_code, done.stdout) == (0, "all 1 agree with their replay (120 frames)\n")


def test_verify_notices_a_header_that_was_altered(exports: Path, tmp_path: Path) -> None:
    import msgspec

    from rollgym.protocol.episode.export import content_digest
    from rollgym.protocol.files.parquet import read_episode, write_episode

    stored = read_episode(exports / "episode_000.player_0.parquet")
    assert stored.canonical is not None
    extra = {"digests": json.dumps({"0": content_digest(stored.header, stored.canonical).hex()})}
    path = tmp_path / "e.parquet"
    write_episode(path, stored.header, stored.canonical, None, extra)
    assert rollgym("verify", path).exit_code == 0
    write_episode(path, msgspec.structs.replace(stored.header, match="other"), stored.canonical, None, extra)
    done = rollgym("verify", path)
    assert done.exit_code == 1
    assert "the header was altered" in done.stdout


_TUG = """
from tests.adapters.toys import Together

def make(size=1):
    if size > 9:
        raise RuntimeError("too wide")
    return Together()
"""


@pytest.fixture
def tug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A game of one's own, ``own_tug:make``, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "own_tug.py"
    path.write_text(_TUG)
    yield path
    sys.modules.pop("own_tug", None)


def test_what_cannot_be_played_here_is_not_checked(tug: Path, exports: Path) -> None:
    recorded = rollgym("simulate", "--game", "own_tug:make", "--frames", 30, "--out", "out")
    assert recorded.exit_code == 0, recorded.output
    verify = ("verify", "out", "--jobs", 1, "--game", "own_tug:make")
    assert rollgym(*verify).exit_code == 0
    tug.write_text(_TUG + "# another version, the same game\n")
    done = rollgym(*verify)
    assert done.exit_code == 2
    assert ": own_tug.py has changed since this was recorded (version " in done.stdout
    assert done.stdout.splitlines()[-1] == "1 not checked (0 frames)"
    assert rollgym(*verify, "--any-version").stdout == "all 1 agree with their replay (30 frames)\n"
    found = json.loads(rollgym(*verify, "--json").stdout)
    assert (found["failed"], found["not_checked"], found["frames"]) == (0, 1, 0)

    (tug.parent / "out" / "episodes" / "whole.parquet").write_bytes(
        (exports / "episode_000.player_0.parquet").read_bytes()
    )
    done = rollgym(*verify)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (
        2,
        "all 1 agree with their replay, 1 not checked (120 frames)",
    )

    other = (
        "class Other(Together):\n    def _seen(self):\n        self.values[0] += 1\n        return super()._seen()\n"
    )
    tug.write_text(_TUG.replace("\n\ndef", f"\n\n{other}\ndef").replace("Together()", "Other()"))
    sys.modules.pop("own_tug", None)
    done = rollgym(*verify, "--any-version")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "1 of 2 differ (150 frames)"

    tug.unlink()
    sys.modules.pop("own_tug", None)
    done = rollgym(*verify)
    assert done.exit_code == 2
    assert "No module named 'own_tug'" in done.stdout
    assert "trust it" not in done.stdout


def test_what_was_altered_is_found_without_the_game(tug: Path) -> None:
    import msgspec

    from rollgym.protocol.episode.export import content_digest
    from rollgym.protocol.files.parquet import read_episode, write_episode

    assert rollgym("simulate", "--game", "own_tug:make", "--frames", 30, "--out", "out").exit_code == 0
    (facts,) = Path("out").rglob("canonical.parquet")
    stored = read_episode(facts)
    assert stored.canonical is not None
    extra = {"digests": json.dumps({"0": content_digest(stored.header, stored.canonical).hex()})}
    header = msgspec.structs.replace(stored.header, match="other")
    write_episode(Path("e.parquet"), header, stored.canonical, None, extra)
    done = rollgym("verify", "e.parquet")
    assert done.exit_code == 1
    assert "the header was altered" in done.stdout


@pytest.mark.parametrize("verb", ["run", "serve"])
@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('id: "own_tug:mak"', "id: 'own_tug:mak': expected a name that is in the module (module 'own_tug' has no"),
        ('id: "own_tugg:make"', "id: 'own_tugg:make': expected a module that can be imported (No module named"),
        (
            'id: "own_tug:make", parameters: {sise: 3}',
            "parameters: {'sise': 3}: expected parameters that the callable takes (got an unexpected keyword",
        ),
        (
            'id: "own_tug:make", parameters: {size: 30}',
            "id: 'own_tug:make': expected a game that can be made (RuntimeError in ",
        ),
    ],
)
def test_a_game_that_cannot_be_made_is_a_mistake_in_the_file(tug: Path, verb: str, line: str, text: str) -> None:
    (tug.parent / "my.yaml").write_text(f"experiment:\n  game: {{{line}}}\n")
    done = rollgym(verb, "./my.yaml")
    assert done.exit_code == 2
    assert f"rollgym: ./my.yaml:2: experiment.game.{text}" in done.stderr or (
        f"rollgym: my.yaml:2: experiment.game.{text}" in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in tug.parent.iterdir() if path.name != "__pycache__") == ["my.yaml", "own_tug.py"]


def test_simulate_is_deterministic_to_the_byte(tmp_path: Path) -> None:
    arguments = ("--game", "drift", "--frames", 200, "--seed", 5, *IMPAIRED, "--json")
    runs = []
    for name in ("one", "two"):
        found = _json(rollgym("simulate", *arguments, "--out", tmp_path / name))
        files = {Path(p).name: Path(p).read_bytes() for group in found.pop("exports") for p in group}
        assert sorted(files) == ["canonical.parquet", "player_0.parquet", "player_1.parquet"]
        runs.append((found, files))
    assert runs[0] == runs[1]
    other = _json(rollgym("simulate", "--game", "drift", "--frames", 200, "--seed", 6, *IMPAIRED, "--json"))
    assert other["trace"] != runs[0][0]["trace"]


def test_simulate_prints_every_counter(exports: Path) -> None:
    found = _json(rollgym("simulate", "--game", "drift", "--frames", 300, "--episodes", 2, *IMPAIRED, "--json"))
    assert found["verdicts"] == ["verified", "verified"]
    assert found["episodes"] == 2
    assert found["frames"] == found["confirmed_frames"] == 600
    assert found["rollbacks"] == sum(peer["rollbacks"] for peer in found["peers"]) > 20
    assert found["rollback_depth_max"] >= 2
    assert sum(found["rollback_depth_histogram"].values()) == found["rollbacks"]
    assert found["resimulated_per_frame"] == pytest.approx(found["resimulated_frames"] / 1200)
    assert found["ticks"] >= 1200
    assert found["desyncs"] == found["stalls"] == found["stall_share"] == 0
    assert found["packets_sent"] > 600
    assert found["bytes_sent"] > 10 * found["packets_sent"]
    assert 55 < found["fps"] <= 61
    assert found["exports"] == []


def test_simulate_takes_pauses_and_settings() -> None:
    arguments = ("--game", "drift", "--frames", 200, "--input-delay", 0, "--max-prediction", 4, "--fps", 30)
    found = _json(rollgym("simulate", *arguments, "--network", "constant_100", "--pause", "1:2:1.5", "--json"))
    assert found["stalls"] > 20
    assert 1 <= found["rollback_depth_max"] <= 4
    assert found["virtual_seconds"] > 200 / 30 + 1
    assert found["verdicts"] == ["verified"]


def test_simulate_into_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = rollgym("simulate", "--game", "drift", "--frames", 10, "--out", tmp_path / "file" / "out")
    assert done.exit_code == 2
    assert "not writable: " in done.stderr


def test_games_lists_games_and_shows_one() -> None:
    done = rollgym("games")
    assert done.exit_code == 0
    assert "\npong " in done.stdout
    assert "\ntracker " in done.stdout
    listed = _json(rollgym("games", "--json"))
    assert {"id": "drift", "installed": True}.items() <= listed[0].items()
    found = _json(rollgym("games", "pong", "--json"))
    assert (found["id"], found["fps"], len(found["agents"])) == ("pong", 60, 2)
    assert "points" in [parameter["name"] for parameter in found["parameters"]]
    assert "agent left:" in rollgym("games", "pong").stdout
    assert found["cost"]["step"] > 0
    foreign = _json(rollgym("games", "tests.adapters.toys:Together", "--json"))
    assert (foreign["parameters"], foreign["agents"]) == ([], ["agent_0", "agent_1"])


def test_code_that_a_file_names_is_imported_only_if_it_is_named_here_too(tmp_path: Path) -> None:
    name = "tests.adapters.toys:Together"
    assert rollgym("simulate", "--game", name, "--frames", 30, "--out", tmp_path).exit_code == 0
    refused = rollgym("verify", tmp_path, "--jobs", 1)
    assert refused.exit_code == 2
    assert f"code that is named here is not imported (trust it with --game {name})" in refused.stdout
    assert refused.stdout.splitlines()[-1] == "1 not checked (0 frames)"
    assert rollgym("verify", tmp_path, "--jobs", 1, "--game", name).exit_code == 0


def test_a_server_cannot_make_a_client_import_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rollgym.running.bots._ask", lambda url: ("this:s", {}))
    sys.modules.pop("this", None)
    done = rollgym("play", "--url", "http://127.0.0.1:9")
    assert done.exit_code == 2
    assert "the server's game = 'this:s': expected a built-in game" in done.stderr
    assert "this" not in sys.modules


def test_a_bad_config_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text("experiment:\n  play:\n    fpz: 60\n")
    for verb in ("run", "serve"):
        done = rollgym(verb, "my.yaml")
        assert done.exit_code == 2
        assert done.stderr.startswith("rollgym: my.yaml:3: experiment.play.fpz: unknown key; did you mean fps?")
    assert [path.name for path in tmp_path.iterdir()] == ["my.yaml"]


def test_an_unwritable_data_folder_is_said_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = rollgym("run", "ci", "--data", tmp_path / "file")
    assert done.exit_code == 2
    assert f"data folder {tmp_path / 'file'}: cannot be written: " in done.stderr


def test_help_does_not_import_what_only_play_needs() -> None:
    code = (
        "import sys, rollgym.cli; print([m for m in ('numpy', 'aiohttp', 'pyarrow', 'gymnasium') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
