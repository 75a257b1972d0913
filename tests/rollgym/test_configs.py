"""The lookup of built-in experiment files."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollgym.config.shipped import builtin_config, builtin_configs, config_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("pong.yaml", "overcooked.yaml", "notes.txt"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_every_yaml_file_is_a_config_in_order_of_name(folder: Path) -> None:
    assert builtin_configs(folder) == {"overcooked": folder / "overcooked.yaml", "pong": folder / "pong.yaml"}


def test_a_config_is_found_by_its_name(folder: Path) -> None:
    assert builtin_config("pong", folder) == folder / "pong.yaml"


@pytest.mark.parametrize("name", ["pnog", "notes", "pong.yaml", "../pong", ""])
def test_another_name_is_refused_with_the_names_there_are(folder: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="expected one of: overcooked, pong") as caught:
        builtin_config(name, folder)
    assert repr(name) in str(caught.value)


def test_a_checkout_uses_its_config_folder() -> None:
    assert config_folder() == Path(__file__).resolve().parents[2] / "config"


def test_an_installed_wheel_uses_its_own_copy(tmp_path: Path) -> None:
    package = tmp_path / "rollgym"
    (package / "_config").mkdir(parents=True)
    (tmp_path / "config").mkdir()
    assert config_folder(package) == package / "_config"
