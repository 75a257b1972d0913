"""Fixtures of the tests of the command line and of the dataset tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rollgym.stored import build


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder; tests must not change it."""
    return build(tmp_path_factory.mktemp("stored"))


@pytest.fixture(autouse=True)
def logs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run within a test would send all later logs to their own stderr, which is closed by then."""
    monkeypatch.setattr("rollgym.server.http.serve.configure_logs", lambda **_: None)
