"""Uploads: what is taken, what is refused and with which code. Nothing refused leaves a trace."""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from rollgym.games.builtin.drift.rules import Drift
from rollgym.games.identity import identity
from rollgym.protocol.addresses import resolved
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import Canonical, Export, RollbackEvent, Tail, content_digest
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.files.parquet import EpisodeFileError
from rollgym.protocol.messages import ONLY_RELAY, MatchStart
from rollgym.server.errors import RefusedError
from rollgym.server.record.upload_validation import Expected, check_upload
from rollgym.server.settings import Limits
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.rows import MatchRow
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue
from tests.server.clients import Client, make_settings, pair, running, until
from tests.server.exports import PLAY, altered, make_export


def files(data: Path) -> list[str]:
    """Every file of the dataset folder that is not the catalogue's or the lock."""
    return sorted(str(p.relative_to(data)) for p in data.rglob("*") if p.is_file() and p.parent != data)


async def test_an_upload_is_durable_when_it_is_acknowledged_and_twice_is_once(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        body = encode_export(make_export(a))
        assert await one.put(a, body) == (200, {"ok": True, "stored": "new"})
        path = tmp_path / "inbox" / a.match / "000000.0.msgpack"
        assert path.read_bytes() == body
        (row,) = await server.server.catalogue.uploads(a.match)
        assert (row.episode, row.player, row.bytes, row.frames) == (0, 0, len(body), 40)
        assert await one.put(a, body) == (200, {"ok": True, "stored": "same"})
        assert await one.put(a, zlib.compress(body, 1), Content_Encoding="deflate") == (
            200,
            {"ok": True, "stored": "same"},
        )
        assert files(tmp_path) == [f"inbox/{a.match}/000000.0.msgpack"]
        assert len(await server.server.catalogue.uploads(a.match)) == 1


async def test_compressed_uploads_are_stored_plain(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        body = encode_export(make_export(a))
        assert await one.put(a, zlib.compress(body, 1), Content_Encoding="deflate") == (
            200,
            {"ok": True, "stored": "new"},
        )
        assert (tmp_path / "inbox" / a.match / "000000.0.msgpack").read_bytes() == body


async def test_the_same_upload_again_after_the_verdict_is_known(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        for client, start in ((one, a), (two, b)):
            await client.upload(start, make_export(start))
        await one.verdict()
        before = files(tmp_path)
        assert await one.upload(a, make_export(a)) == "same"
        assert files(tmp_path) == before


async def test_another_export_of_the_same_episode_is_a_conflict_and_the_first_stays(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        first = make_export(a)
        await one.upload(a, first)
        status, answer = await one.put(a, encode_export(altered(first, "rewards", 3)))
        assert (status, answer["error"]["code"]) == (409, "conflict")
        assert (tmp_path / "inbox" / a.match / "000000.0.msgpack").read_bytes() == encode_export(first)
        catalogue = server.server.catalogue
        assert isinstance(catalogue, SqliteCatalogue)
        rows = await catalogue.call(lambda db: db.execute("SELECT count(*) FROM conflict").fetchone())
        assert rows == (1,)


async def test_uploads_that_cross_are_stored_once(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        body = encode_export(make_export(a))
        answers = await asyncio.gather(*(one.put(a, body) for _ in range(8)))
        assert sorted(answer["stored"] for _, answer in answers) == ["new"] + ["same"] * 7


def with_header(export: Export, **changes: Any) -> Export:
    header = msgspec.structs.replace(export.header, **changes)
    return msgspec.structs.replace(export, header=header, digest=content_digest(header, export.canonical))


def without_column(export: Export, name: str) -> Export:
    columns = {key: value for key, value in export.canonical.columns.items() if key != name}
    facts = Canonical(columns, export.canonical.infos)
    return msgspec.structs.replace(export, canonical=facts, digest=content_digest(export.header, facts))


def with_own(export: Export, **changes: Any) -> Export:
    return msgspec.structs.replace(export, own=msgspec.structs.replace(export.own, **changes))


def with_seen(export: Export, name: str, column: Column) -> Export:
    return with_own(export, columns={**export.own.columns, "seen_frame": Column("<u4", (0,), b""), name: column})


@pytest.mark.parametrize(
    "change",
    [
        lambda e: with_own(e, rollbacks=[RollbackEvent(1 << 63, 0, 1, 0, b"", b"", 0.0)]),
        lambda e: with_own(e, tail=Tail(1 << 63, [], [], [])),
        lambda e: with_seen(e, "seen/x", Column("<f4", (0, 1 << 40), b"")),
        lambda e: with_seen(e, "seen/x", Column("<f4", (0, 1 << 28), b"")),
    ],
    ids=["large integer", "large start", "endless row", "wide row"],
)
async def test_what_no_file_can_hold_is_refused(tmp_path: Path, change: Callable[[Export], Export]) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        status, answer = await one.put(a, encode_export(change(make_export(a))))
        assert (status, answer["error"]["code"]) == (400, "bad_export")
        assert files(tmp_path) == []
        assert await one.upload(a, make_export(a)) == "new"
        assert server.server.workers.deaths == 0


def test_an_export_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = MatchStart("m" + "0" * 24, 0, ("a", "b"), 5, PLAY, "secret", ONLY_RELAY, "upload/{episode}")
    path = tmp_path / "upload.part"
    path.write_bytes(encode_export(make_export(start)))

    def refuse(*_: Any) -> NoReturn:
        raise EpisodeFileError(path, "no place for it")

    monkeypatch.setattr("rollgym.server.record.upload_validation.check_storable", refuse)
    match = MatchRow(start.match, "e", "c", "", 5, identity(Drift().spec), PLAY, ("a", "b"), ({}, {}), 0.0)
    with pytest.raises(RefusedError, match="no place for it") as caught:
        check_upload(path, Expected(match, 0, 0, 1000))
    assert (caught.value.status, caught.value.code) == (400, "bad_export")
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        (lambda e: msgspec.structs.replace(e, digest=bytes(32)), 400, "bad_export", "digest"),
        (lambda e: without_column(e, "rewards"), 400, "bad_export", "canonical.columns.rewards"),
        (lambda e: with_header(e, frames=39), 400, "bad_export", "canonical.columns.frame"),
        (lambda e: with_header(e, match="m" + "0" * 24), 422, "header_mismatch", "header.match"),
        (lambda e: with_header(e, episode=1), 422, "header_mismatch", "header.episode"),
        (lambda e: with_header(e, match_seed=1), 422, "header_mismatch", "header.match_seed"),
        (lambda e: with_header(e, seed=1), 422, "header_mismatch", "header.seed"),
        (lambda e: with_header(e, participants=("x", "y")), 422, "header_mismatch", "header.participants[0]"),
        (
            lambda e: with_header(e, game=msgspec.structs.replace(e.header.game, version="2")),
            422,
            "header_mismatch",
            "header.game.version",
        ),
        (
            lambda e: with_header(e, settings=msgspec.structs.replace(e.header.settings, frame_limit=None)),
            422,
            "header_mismatch",
            "header.settings.frame_limit",
        ),
        (
            lambda e: msgspec.structs.replace(e, own=msgspec.structs.replace(e.own, player=1)),
            403,
            "not_yours",
            "own.player",
        ),
    ],
)
async def test_what_is_wrong_is_refused_and_named(
    tmp_path: Path, change: Any, status: int, code: str, field: str
) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        got, answer = await one.put(a, encode_export(change(make_export(a))))
        assert (got, answer["error"]["code"], answer["error"]["field"]) == (status, code, field)
        assert files(tmp_path) == []
        assert await one.upload(a, make_export(a)) == "new"


async def test_tickets_open_only_what_is_theirs(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, AsyncExitStack() as stack:
        (one, a), (two, b) = await stack.enter_async_context(pair(server.url))
        _, (_, other) = await stack.enter_async_context(pair(server.url))
        body = encode_export(make_export(a))

        async def refused(attempt: Awaitable[tuple[int, dict[str, Any]]]) -> tuple[int, str]:
            status, answer = await attempt
            return status, answer["error"]["code"]

        assert await refused(one.put(a, body, ticket="wrong")) == (401, "bad_ticket")
        assert await refused(one.put(a, body, Authorization="")) == (401, "no_ticket")
        assert await refused(one.put(a, body, ticket=other.ticket)) == (403, "not_yours")
        assert await refused(one.put(a, body, ticket=b.ticket)) == (403, "not_yours")
        assert await refused(one.put(a, body, episode=3)) == (404, "no_such_episode")
        assert await refused(two.put(b, body, episode=1)) == (403, "not_yours")
        assert files(tmp_path) == []


@pytest.mark.parametrize(
    "match", ["..", "../../etc", "%2e%2e", "%2e%2e%2f%2e%2e", "m0", "M" + "0" * 24, "m" + "0" * 24]
)
async def test_a_path_of_the_clients_own_making_reaches_nothing(tmp_path: Path, match: str) -> None:
    async with running(make_settings(tmp_path / "data")) as server, pair(server.url) as ((one, a), _):
        start = msgspec.structs.replace(a, upload=f"/matches/{match}/episodes/{{episode}}")
        headers = {"Authorization": f"Bearer {a.ticket}", "Content-Type": "application/msgpack"}
        url = resolved(server.url, start.upload.replace("{episode}", "0"))
        async with one.http.put(url, data=encode_export(make_export(a)), headers=headers) as response:
            assert response.status in (403, 404)
        assert files(tmp_path / "data") == []
        assert {path.split("/")[0] for path in files(tmp_path)} == {"data"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"x" * 5000, {}, 413, "too_large"),
        (zlib.compress(b"x" * 5000), {"Content_Encoding": "deflate"}, 413, "too_large"),
        (b"x", {}, 400, "bad_export"),
        (b"", {}, 400, "bad_export"),
        (b"not a stream", {"Content_Encoding": "deflate"}, 400, "bad_body"),
        (zlib.compress(b"x" * 100)[:-2], {"Content_Encoding": "deflate"}, 400, "bad_body"),
        (zlib.compress(b"x" * 100) + b"more", {"Content_Encoding": "deflate"}, 400, "bad_body"),
        (gzip.compress(b"x" * 100, mtime=0)[:-9], {"Content_Encoding": "gzip"}, 400, "bad_body"),
        (gzip.compress(b"x" * 5000, mtime=0), {"Content_Encoding": "GZip"}, 413, "too_large"),
        (b"x", {"Content_Encoding": "lzma"}, 415, "bad_encoding"),
        (b"x", {"Content_Encoding": "br"}, 415, "bad_encoding"),
        (b"x", {"Content_Encoding": "zstd"}, 415, "bad_encoding"),
        (b"x", {"Content_Encoding": "deflate, gzip"}, 415, "bad_encoding"),
        (b"x", {"Content_Type": "application/json"}, 415, "bad_media_type"),
    ],
)
async def test_bodies_that_are_none(
    tmp_path: Path, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    limits = Limits(upload_bytes=4096, export_bytes=4096, free_bytes=0)
    async with running(make_settings(tmp_path, limits=limits)) as server, pair(server.url) as ((one, a), _):
        got, answer = await one.put(a, body, episode=0, ticket=None, **headers)
        assert (got, answer["error"]["code"]) == (status, code)
        await until(lambda: not files(tmp_path))


@pytest.mark.parametrize("episode", ["\N{ARABIC-INDIC DIGIT ZERO}", "\N{FULLWIDTH DIGIT ZERO}", "+0", "0_0", "-0"])
async def test_an_episode_is_named_by_plain_digits(tmp_path: Path, episode: str) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        headers = {"Authorization": f"Bearer {a.ticket}", "Content-Type": "application/msgpack"}
        url = f"{server.url}/matches/{a.match}/episodes/{episode}"
        async with one.http.put(url, data=encode_export(make_export(a)), headers=headers) as response:
            assert response.status == 404
        assert files(tmp_path) == []


async def test_all_kinds_of_deflate_and_gzip_are_taken(tmp_path: Path) -> None:
    bare = zlib.compressobj(wbits=-15)
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        body = encode_export(make_export(a))
        assert (await one.put(a, bare.compress(body) + bare.flush(), Content_Encoding="deflate"))[0] == 200
        for packed, encoding in ((zlib.compress(body), "deflate"), (gzip.compress(body), "gzip"), (body, "identity")):
            assert await one.put(a, packed, Content_Encoding=encoding) == (200, {"ok": True, "stored": "same"})


async def test_a_body_without_a_length_is_bounded_too(tmp_path: Path) -> None:
    limits = Limits(upload_bytes=4096, export_bytes=4096, free_bytes=0)
    async with running(make_settings(tmp_path, limits=limits)) as server, pair(server.url) as ((one, a), _):
        headers = {"Authorization": f"Bearer {a.ticket}", "Content-Type": "application/msgpack"}

        async def endless() -> Any:
            for _ in range(10_000):
                yield b"x" * 1000

        url = resolved(server.url, a.upload.replace("{episode}", "0"))
        status = None
        try:
            async with one.http.put(url, data=endless(), headers=headers) as response:
                status = response.status
        except ConnectionError:  # the server may hang up while we still send
            status = 413
        assert status == 413
        assert server.server.metrics.uploads.labels("too_large")._value.get() == 1
        assert files(tmp_path) == []


async def test_more_frames_than_allowed_are_refused(tmp_path: Path) -> None:
    limits = Limits(episode_frames=39, free_bytes=0)
    async with running(make_settings(tmp_path, limits=limits)) as server, pair(server.url) as ((one, a), _):
        status, answer = await one.put(a, encode_export(make_export(a)))
        assert (status, answer["error"]["code"]) == (413, "too_many_frames")


async def test_a_full_disk_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        body = encode_export(make_export(a))
        with monkeypatch.context() as patch:
            patch.setattr(FolderStore, "free_bytes", lambda self: -1)
            status, answer = await one.put(a, body)
            assert (status, answer["error"]["code"]) == (507, "disk_full")

        def refuse(*_: Any) -> NoReturn:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(FolderStore, "put_upload", refuse)
            status, answer = await one.put(a, body)
            assert (status, answer["error"]["code"]) == (507, "disk_full")
        assert files(tmp_path) == []
        assert await one.put(a, body) == (200, {"ok": True, "stored": "new"})


def mutate(body: bytes, seed: int) -> bytes:
    """A body with a few bytes changed, cut out, doubled or made up."""
    draw = random.Random(seed)
    data = bytearray(body)
    for _ in range(draw.choice((1, 1, 1, 2, 5, 20))):
        at = draw.randrange(len(data) or 1)
        match draw.randrange(6):
            case 0:
                data[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                del data[at : at + draw.choice((1, 4, 100))]
            case 2:
                data[at:at] = data[at : at + draw.choice((1, 4, 100))]
            case 3:
                data[at:at] = draw.randbytes(draw.choice((1, 8)))
            case 4:
                del data[at:]
            case _:
                data[at : at + 1] = bytes([draw.choice((0xC0, 0xC1, 0xD9, 0xDD, 0xDF, 0xC6, 0xFF, 0x80, 0x90))])
    return bytes(data)


async def send_all(client: Client, start: MatchStart, bodies: list[bytes]) -> list[int]:
    return [(await client.put(start, body))[0] for body in bodies]


async def test_five_hundred_broken_bodies_are_refused_and_nothing_stays_of_them(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        export = make_export(a, frames=4, status="partner_left")
        body = encode_export(export)
        bodies = [mutate(body, seed) for seed in range(500)]
        # One that differs only in the peer's own part is a good export; it must not be taken before the others.
        statuses = await send_all(one, a, [b for b in bodies if b != body])
        accepted = sum(status == 200 for status in statuses)
        assert set(statuses) <= {200, 400, 403, 409, 413, 422}
        assert statuses.count(400) > 400
        assert server.server.workers.deaths == 0
        assert len(files(tmp_path)) == min(accepted, 1)
        assert await two.upload(b, make_export(b)) == "new"


async def test_an_empty_array_of_impossible_shape_is_refused(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        export = make_export(a)
        for shape in ((41, 0, 2**62), (41, 0, 2**63 - 1, 2**63 - 1), (41, 0)):
            columns = {**export.canonical.columns, "observations/player_0/position": Column("<i4", shape, b"")}
            facts = Canonical(columns, export.canonical.infos)
            bad = msgspec.structs.replace(export, canonical=facts, digest=content_digest(export.header, facts))
            status, answer = await one.put(a, encode_export(bad))
            # An empty leaf of a possible shape is for the audit to find.
            assert status in (200, 400, 409), answer
        assert server.server.workers.deaths == 0
