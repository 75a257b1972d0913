"""What is in a file is that file's fault: it is reported, and the next file is checked all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollgym.dataset.verify import verify_file, verify_files
from rollgym.games.builtin.drift.rules import Drift
from rollgym.protocol.episode.export import Canonical, Info
from rollgym.protocol.files.parquet import write_episode
from tests.rollgym.stored import play


@pytest.mark.parametrize("extra", ["[]", "{", "7"])
def test_provenance_that_cannot_be_read(tmp_path: Path, extra: str) -> None:
    export = play("drift", frames=20)[0][0]
    for name, digests in (("bad.parquet", extra), ("good.parquet", "{}")):
        write_episode(tmp_path / name, export.header, export.canonical, export.own, {"digests": digests})
    bad, good = verify_files([tmp_path / "bad.parquet", tmp_path / "good.parquet"], 1)
    assert (bad.ok, good.ok, good.detail) == (False, True, "")
    assert bad.detail.startswith("its digests cannot be checked: ")


def test_a_header_that_has_no_bytes(tmp_path: Path) -> None:
    export = play("drift", frames=20)[0][0]
    parameters: dict[str, Any] = {}
    for _ in range(40):
        parameters = {"a": parameters}
    game = msgspec.structs.replace(export.header.game, parameters=parameters)
    header = msgspec.structs.replace(export.header, game=game)
    path = tmp_path / "deep.parquet"
    write_episode(path, header, export.canonical, export.own, {})
    found = verify_file(path)
    assert (found.ok, found.frames) == (False, 20)
    assert "nested more than 32 deep" in found.detail


def test_infos_that_are_no_values(tmp_path: Path) -> None:
    export = play("drift", frames=20)[0][0]
    infos = [Info(0, 0, f"{key:03}", b"\xc1") for key in range(300)]
    path = tmp_path / "infos.parquet"
    write_episode(path, export.header, Canonical(export.canonical.columns, infos), export.own, {})
    assert not verify_file(path).ok


def test_a_game_that_raises_while_it_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = play("drift", frames=20)[0][0]
    path = tmp_path / "episode.parquet"
    write_episode(path, export.header, export.canonical, export.own, {})
    assert verify_file(path).ok

    def step(self: Drift, inputs: object) -> None:
        raise ZeroDivisionError("no way out")

    monkeypatch.setattr(Drift, "step", step)
    found = verify_file(path)
    assert not found.ok
    assert "ZeroDivisionError: no way out" in found.detail
