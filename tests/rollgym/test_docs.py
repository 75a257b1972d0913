"""The pages say what there is: every key, every option, every column."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
import typer.main
from pydantic import BaseModel
from typer.testing import CliRunner

import rollgym
from rollgym.cli import app
from rollgym.client_sim.network_model import CONDITIONS
from rollgym.config.file import Bot, ExperimentFile, Network
from rollgym.config.reading import load_config
from rollgym.config.shipped import builtin_configs
from rollgym.protocol.episode.export import OWN_COLUMNS
from rollgym.protocol.messages import PlaySettings
from rollgym.server.settings import Experiment, Limits, Play, ServerSettings
from tests.rollgym.stored import play, write_export

DOCS = Path(__file__).resolve().parents[2] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text()
COMMANDS = (DOCS / "command_line.md").read_text()
DATASET = (DOCS / "dataset.md").read_text()


@pytest.mark.parametrize("model", [ExperimentFile, Experiment, Play, ServerSettings, Limits, Bot, Network])
def test_every_key_of_the_experiment_file_has_a_row(model: type[BaseModel]) -> None:
    told = set(re.findall(r"`(?:play\.|game\.)?(\w+)`", CONFIGURATION)) | {"game", "play", "experiment"}
    assert set(model.model_fields) - told == set()


def test_every_setting_of_a_match_can_be_given_in_a_file() -> None:
    assert set(Play.model_fields) == {field.name for field in msgspec.structs.fields(PlaySettings)}


def test_the_example_is_a_file_and_equals_the_shipped_one(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", CONFIGURATION, re.DOTALL)
    assert example is not None
    (tmp_path / "example.yaml").write_text(example[1])
    assert load_config(tmp_path / "example.yaml") == load_config(builtin_configs()["pong"])


def test_every_named_network_and_shipped_file_is_told() -> None:
    assert set(CONDITIONS) - set(re.findall(r"`(\w+)`", CONFIGURATION)) == set()
    assert set(builtin_configs()) - set(re.findall(r"`(\w+)`", CONFIGURATION)) == set()


@pytest.mark.parametrize("verb", typer.main.get_command(app).commands)  # type: ignore[attr-defined]
def test_every_verb_and_its_options_are_told(verb: str) -> None:
    assert f"| `{verb}" in COMMANDS
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    options = {name for p in command.params if not getattr(p, "hidden", False) for name in p.opts if name[:2] == "--"}
    assert {name for name in options - {"--help"} if name not in COMMANDS} == set()


def test_every_column_is_told() -> None:
    assert {name for name in OWN_COLUMNS if f"`own/{name}`" not in DATASET} == set()
    for name in ("frame", "rewards", "terminations", "truncations", "input_source", "state_digest"):
        assert f"`{name}`" in DATASET


def quoted_in(page: str) -> set[str]:
    """What a page has in backquotes, outside of its examples."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL)))


def test_every_column_of_a_real_data_folder_is_told(data: Path) -> None:
    told = quoted_in(DATASET)
    columns = set()
    for path in (data / "episodes").rglob("*.parquet"):
        columns |= set(pq.read_schema(path).names)
    assert {"own/seen_frame", "own/rollback_events", "frame"} <= columns
    general = {re.sub(r"^(observations|actions|infos)/.*", r"\1/<agent>", name) for name in columns}
    general = {re.sub(r"^own/seen/.*", "own/seen/...", name) for name in general}
    general = {name + "/<key>" if name == "infos/<agent>" else name for name in general}
    assert general - told == set()


def test_every_column_of_a_real_table_is_told(data: Path) -> None:
    told = quoted_in(DATASET)
    episode = next(rollgym.load(data))
    titles = {name.split(".")[0] for table in (episode.table(), episode.table(0)) for name in table.column_names}
    assert {
        title for title in titles if not {title, f"{title}.X", f"{title}.X.key", f"{title}.X.part.0"} & told
    } == set()


def test_every_column_of_the_table_of_all_episodes_is_told(data: Path) -> None:
    page = DATASET[DATASET.index("### All episodes") : DATASET.index("## Exporting it")]
    assert set(rollgym.episodes(data).column_names) - quoted_in(page) == set()


def test_every_key_of_a_real_files_provenance_is_told(data: Path, tmp_path: Path) -> None:
    page = DATASET[DATASET.index("### Provenance") :]
    told = quoted_in(page)
    (group,) = play(frames=20)
    write_export(tmp_path, group[0])
    for episode in (*rollgym.load(data), *rollgym.load(tmp_path)):
        found = episode.provenance
        keys = {*found, *found["game"], *next(iter(found["players"].values()))}
        assert keys - told == set()
    assert {field.name for field in msgspec.structs.fields(PlaySettings)} >= set(found["settings"])


def test_every_metadata_key_of_a_real_file_is_told(data: Path) -> None:
    for path in (data / "episodes").rglob("*.parquet"):
        keys = {key.decode() for key in pq.read_schema(path).metadata if key.startswith(b"rollgym")}
        assert {key for key in keys if f"| `{key}` |" not in DATASET} == set()


def test_the_examples_of_the_dataset_page_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = re.findall(r"```python\n(.*?)```", DATASET, re.DOTALL)
    assert len(examples) == 6
    scans = [example for example in examples if "rollgym.scan" in example]
    assert len(scans) == 2
    (tmp_path / "data").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for example in examples:
        if example not in scans:
            exec(compile(example, "docs/dataset.md", "exec"), names)
    assert names["frames"] == sum(e.frames for e in rollgym.load(data, verdict="verified", condition="rtt_80")) > 200
    assert names["episode"].table().num_rows == names["episode"].frames
    assert (names["table"].num_rows, names["whole"].num_rows) == (10, 6)
    assert set(names["means"]["condition"].to_pylist()) == {"rtt_0", "rtt_80"}
    for example in scans:
        other = re.search(r"import (\w+)", example)
        assert other is not None
        if importlib.util.find_spec(other[1]):
            exec(compile(example, "docs/dataset.md", "exec"), {"rollgym": rollgym})
    commands = re.findall(r"^rollgym (export .*?)(?: +#.*)?$", DATASET, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert CliRunner().invoke(app, command.split()).exit_code == 0
