"""The pages say what there is: every key, every option, every column."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import typer.main
from pydantic import BaseModel

from client_sim.network import CONDITIONS
from protocol.episode import OWN_COLUMNS
from protocol.messages import PlaySettings
from rollgym.cli import app
from rollgym.config import Bot, ExperimentFile, Network, load_config
from rollgym.configs import builtin_configs
from server.settings import Experiment, Limits, Play, ServerSettings

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
