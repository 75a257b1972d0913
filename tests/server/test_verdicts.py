"""From two uploads to a verdict and a dataset."""

from __future__ import annotations

from pathlib import Path

from protocol.parquet import read_episode
from tests.server.clients import make_settings, pair, running
from tests.server.exports import make_export


async def test_two_equal_exports_are_verified_and_stored_once(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        assert await one.upload(a, make_export(a)) == "new"
        assert await two.upload(b, make_export(b)) == "new"
        verdict = await one.verdict()
        assert (verdict.match, verdict.episode, verdict.verdict) == (a.match, 0, "verified")
        assert await two.verdict() == verdict
        folder = tmp_path / "episodes" / a.match / "episode_000000"
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["canonical.parquet", "player_0.parquet", "player_1.parquet"]
        stored = read_episode(folder / "canonical.parquet")
        wanted = make_export(a)
        assert (stored.header, stored.canonical, stored.own) == (wanted.header, wanted.canonical, None)
        assert read_episode(folder / "player_1.parquet").own == make_export(b).own
        assert stored.extra["verdict"] == "verified"
        assert not [*(tmp_path / "inbox").rglob("*.msgpack")]
        assert not [*(tmp_path / "tmp").iterdir()]
