"""What a run left in its spool is brought in later, to a server at another address."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rollgym.cli import app
from rollgym.client_sim.exports.spool import Spool, pack
from rollgym.commands.run import _tick
from rollgym.protocol.addresses import resolved
from rollgym.running.uploads import remove_empty, upload_left, waiting_in
from rollgym.server.settings import Limits
from tests.server.clients import make_settings, pair, running, until
from tests.server.exports import make_export


async def test_left_uploads_reach_the_server_where_it_is_now(tmp_path: Path) -> None:
    data, place = tmp_path / "data", tmp_path / "spool"
    async with running(make_settings(data)) as server, pair(server.url) as ((one, a), (_, b)):
        spool = Spool(place)
        for start in (a, b):
            path = start.upload.replace("{episode}", "0")
            # Nobody listens where the server was.
            spool.put(*pack(make_export(start), resolved("http://127.0.0.1:9", path), start.ticket))
        assert waiting_in(place) == 2
        brought = await upload_left(place, server.url)
        assert brought == (2, [], 0)
        assert waiting_in(place) == 0
        assert (await one.verdict()).verdict == "verified"
        assert await upload_left(place, server.url) == (0, [], 0)


@pytest.mark.parametrize("limits", [{"episode_frames": 39}, {"upload_bytes": 1024}, {"export_bytes": 1024}])
async def test_what_was_refused_for_a_limit_is_taken_after_it_was_raised(
    tmp_path: Path, limits: dict[str, int]
) -> None:
    data, place = tmp_path / "data", tmp_path / "spool"
    async with (
        running(make_settings(data, limits=Limits(free_bytes=0, **limits))) as server,
        pair(server.url) as (
            (_, a),
            (_, b),
        ),
    ):
        for start in (a, b):
            path = start.upload.replace("{episode}", "0")
            Spool(place).put(*pack(make_export(start), resolved(server.url, path), start.ticket))
        for _ in range(2):  # it may be tried as often as one likes
            stored, refused, waiting = await upload_left(place, server.url)
            assert (stored, len(refused), waiting) == (0, 2, 0)
            assert len(Spool(place).refused()) == 2
        assert {row.times for row in await server.server.catalogue.refusals()} == {2}
    async with running(make_settings(data)) as server:
        assert await upload_left(place, server.url) == (2, [], 0)
        await until(lambda: server.server.matches.get(a.match) is None)
        row = await server.server.catalogue.verdict(a.match, 0)
        assert row is not None
        assert row.verdict == "verified"
    assert Spool(place).refused() == []


async def test_a_wrong_ticket_stays(tmp_path: Path) -> None:
    place = tmp_path / "spool"
    async with running(make_settings(tmp_path / "data")) as server, pair(server.url) as ((_, a), _):
        path = a.upload.replace("{episode}", "0")
        Spool(place).put(*pack(make_export(a), resolved("http://127.0.0.1:9", path), "wrong"))
        # A server that has just come up may not know the ticket yet: it is tried again, and stays.
        assert await upload_left(place, server.url, within=0.3) == (0, [], 1)


def test_without_a_server_or_a_spool_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for spool, reason in ((tmp_path / "file", "not a folder"), (tmp_path, "no rollgym server answers at")):
        arguments = ["play", "--url", "http://127.0.0.1:9", "--spool", str(spool), "--upload-only"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2
        assert reason in done.stderr


def test_without_a_spool_nothing_is_waiting(tmp_path: Path) -> None:
    arguments = ["play", "--url", "http://127.0.0.1:9", "--spool", str(tmp_path / "none"), "--upload-only"]
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, "nothing is waiting" in done.stdout) == (0, True), done.output
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"stored": 0, "refused": [], "waiting": 0})


def test_play_leaves_no_empty_spool(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for spool in (tmp_path / "none", mine):
        arguments = ["play", "--url", "http://127.0.0.1:9", "--game", "drift", "--spool", str(spool)]
        assert CliRunner().invoke(app, arguments).exit_code == 2
    assert list(tmp_path.iterdir()) == [mine]


def test_a_spool_with_something_in_it_stays(tmp_path: Path) -> None:
    (tmp_path / "refused").mkdir()
    remove_empty(tmp_path)
    assert tmp_path.is_dir()
    (tmp_path / "refused").rmdir()
    remove_empty(tmp_path)
    remove_empty(tmp_path)
    assert not tmp_path.exists()


@pytest.mark.parametrize(
    ("work", "share", "text"),
    [
        (0.0012, 0.83, "1.2 ms of the 16.7 ms of a frame (7 %); engine 83 % of it, game and bot the rest"),
        (None, None, "unknown"),
    ],
)
def test_the_summary_says_how_much_of_a_frame_the_work_takes(
    work: float | None, share: float | None, text: str
) -> None:
    assert _tick({"work_per_frame": work, "frame_seconds": 1 / 60, "engine_share": share}) == text
