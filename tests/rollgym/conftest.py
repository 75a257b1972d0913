"""Fixtures of the tests of the dataset tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rollgym.stored import build


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder; tests must not change it."""
    return build(tmp_path_factory.mktemp("stored"))
