"""The catalogue by itself: its versions, its thread, and what a restarted server asks it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from rollgym.games.builtin.drift.rules import Drift
from rollgym.games.identity import identity
from rollgym.protocol.episode.player_row import EpisodePlayerRow
from rollgym.server.errors import ServerError
from rollgym.server.storage.errors import AnnulledError, CatalogueError, CatalogueGoneError, DamagedError, Stopped
from rollgym.server.storage.record import catalogue_copy
from rollgym.server.storage.rows import EpisodeRow, MatchRow, SeriesProgress, UnjudgedRow, UploadRow
from rollgym.server.storage.sqlite import queries, schema
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue
from rollgym.server.storage.sqlite.queries import matches as all_matches
from tests.patience import PATIENCE
from tests.server.exports import PLAY

WAIT = PATIENCE
# Seconds until a test that waits for something that never comes gives up.

VERSION_1, VERSION_2, VERSION_3 = (Path(__file__).parent / "data" / f"catalogue_version_{n}.sql" for n in (1, 2, 3))


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteCatalogue]:
    catalogue = SqliteCatalogue(path)
    try:
        yield catalogue
    finally:
        await asyncio.to_thread(catalogue.close)


def match(index: int, number: int | None = None, *, experiment: str = "e", condition: str = "c") -> MatchRow:
    return MatchRow(
        f"m{index:024x}",
        experiment,
        condition,
        "",
        5,
        identity(Drift().spec),
        PLAY,
        ("a", "b"),
        ({}, {}),
        float(index),
        number=index if number is None else number,
    )


async def add(catalogue: SqliteCatalogue, *rows: MatchRow) -> None:
    for row in rows:
        await catalogue.add_match(row, (f"{row.id}0".encode(), f"{row.id}1".encode()))


def tables(path: Path) -> list[tuple[str, str]]:
    """Every column of every table with its type, and the version."""
    with closing(sqlite3.connect(path)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        columns = [(name, str(sorted(db.execute(f"PRAGMA table_info({name})")))) for name in names]
        return [*columns, ("version", str(schema.version_of(db)))]


# --- versions ---------------------------------------------------------------------------------------------------


async def test_a_catalogue_of_version_1_is_led_to_the_present_one_and_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1.read_text())
        before = db.execute("SELECT id, seed, ended, reason FROM match ORDER BY created").fetchall()
        uploads = db.execute("SELECT * FROM upload ORDER BY match, episode, player").fetchall()
    with catalogue_copy(path) as copy:
        copied = copy.matches()
    async with opened(path) as catalogue:
        rows = await catalogue.call(queries.matches)
        assert [(row.id, row.seed, row.ended, row.reason) for row in rows] == before
        assert rows == copied
        assert [row.number for row in rows] == [0, 1]
        assert not any(row.annulled for row in rows)
        assert await catalogue.progress("old", "both") == SeriesProgress(2, 2, 2, ())
        assert len(await catalogue.all_uploads()) == len(uploads) == 3
        assert [row.verdict for row in await catalogue.verdicts()] == ["verified", "single"]
    async with opened(tmp_path / "new.sqlite"):
        pass
    assert tables(path) == tables(tmp_path / "new.sqlite")


EVERYTHING = (
    "SELECT id, experiment, condition, config_hash, seed, game, settings, created, number, ended, annulled FROM match",
    "SELECT id, reason FROM match ORDER BY id",
    "SELECT * FROM player ORDER BY match, player",
    "SELECT * FROM upload ORDER BY match, player",
    "SELECT * FROM conflict",
    "SELECT * FROM episode ORDER BY match",
    "SELECT * FROM refusal",
    "SELECT * FROM unjudged",
)


async def test_a_catalogue_of_version_2_keeps_every_row_and_what_was_judged_has_no_numbers_yet(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_2.read_text())
        before = [db.execute(query).fetchall() for query in EVERYTHING]
        assert all(before)
    async with opened(path) as catalogue:
        assert await catalogue.call(lambda db: [db.execute(query).fetchall() for query in EVERYTHING]) == before
        verdicts = await catalogue.verdicts()
        assert [(row.verdict, row.by_player) for row in verdicts] == [("verified", ()), ("diverged", ())]
    async with opened(tmp_path / "new.sqlite"):
        pass
    assert tables(path) == tables(tmp_path / "new.sqlite")


async def test_a_catalogue_of_version_3_keeps_every_row_and_no_number_is_used_twice(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    queries = (*EVERYTHING, "SELECT * FROM episode_player")
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_3.read_text())
        before = [db.execute(query).fetchall() for query in queries]
        assert all(before)
    async with opened(path) as catalogue:
        assert await catalogue.call(lambda db: [db.execute(query).fetchall() for query in queries]) == before
        assert {row.owner for row in await catalogue.open_matches()} <= {None}
        played = [row for row in await catalogue.call(all_matches) if not row.annulled]
        with pytest.raises(CatalogueError) as caught:
            await add(catalogue, msgspec.structs.replace(played[0], id="m" + "f" * 24))
        assert (caught.value.kind, caught.value.final) == ("taken", True)
    async with opened(tmp_path / "new.sqlite"):
        pass
    assert tables(path) == tables(tmp_path / "new.sqlite")


async def test_a_number_that_two_matches_have_stays_with_the_first(tmp_path: Path) -> None:
    """No version of the server makes such a catalogue; none is refused for it."""
    path = tmp_path / "catalogue.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_3.read_text())
        db.execute("UPDATE match SET number = 0 WHERE NOT annulled")
        db.commit()
    async with opened(path) as catalogue:
        numbers = [row.number for row in await catalogue.call(all_matches) if not row.annulled]
        assert numbers == [0, *[None] * (len(numbers) - 1)]
        assert (await catalogue.progress("old", "both")).next_number == 1


async def test_a_verdict_comes_with_what_the_players_exports_come_to_and_a_later_one_replaces_it(
    tmp_path: Path,
) -> None:
    one = EpisodePlayerRow(0, "tracker", 1.5, 2.5, -3.0, 4, 5, 6, 7, 0.25)
    two = EpisodePlayerRow(1, "", None, None, None, 0, 0, 0, None, None)
    first = EpisodeRow(match(0).id, 0, "single", "", (0,), 9, "complete", 1, b"", None, (), 1.0, (one,))
    other = msgspec.structs.replace(first, episode=1, by_player=(two,))
    later = msgspec.structs.replace(first, verdict="verified", players=(0, 1), by_player=(one, two))
    async with opened(tmp_path / "c") as catalogue:
        await add(catalogue, match(0))
        for row in (first, other):
            await catalogue.set_verdict(row)
        assert await catalogue.verdicts() == [first, other]
        await catalogue.set_verdict(later)
        assert await catalogue.verdict(match(0).id, 0) == later
        await catalogue.set_verdict(msgspec.structs.replace(first, by_player=(two,)))
        assert (await catalogue.verdicts(match(0).id))[0].by_player == (two,)


def test_a_copy_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1.read_text())
    content = path.read_bytes()
    with catalogue_copy(path):
        pass
    assert [place.name for place in tmp_path.iterdir()] == ["catalogue.sqlite"]
    assert path.read_bytes() == content
    with closing(sqlite3.connect(path)) as db:
        assert schema.version_of(db) == 1
    with pytest.raises(ServerError, match="unable to open"), catalogue_copy(tmp_path / "none.sqlite"):
        pass
    path.write_bytes(b"something else " * 1000)
    with pytest.raises(DamagedError, match="not a database"), catalogue_copy(path):
        pass


def test_a_step_that_fails_leaves_the_version_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalogue.sqlite"
    SqliteCatalogue(path).close()
    before = tables(path)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "LADDER", (*schema.LADDER, "CREATE TABLE further (x) STRICT, nonsense;"))
        patch.setattr(schema, "VERSION", schema.VERSION + 1)
        with pytest.raises(ServerError, match="catalogue"):
            SqliteCatalogue(path)
    assert tables(path) == before


# --- what a restarted server goes on from -----------------------------------------------------------------------


async def test_progress_counts_what_was_begun_and_is_over_and_knows_which_numbers_are_free(tmp_path: Path) -> None:
    async with opened(tmp_path / "c") as catalogue:
        assert await catalogue.progress("e", "c") == SeriesProgress(0, 0, 0, ())
        await add(catalogue, *(match(index) for index in range(5)), match(9, 7, condition="other"))
        await catalogue.end_match(match(0).id, 1.0, "complete")
        await catalogue.annul_match(match(1).id, 1.0, "annulled")
        await catalogue.drop_match(match(3).id)
        await catalogue.annul_match(match(4).id, 1.0, "annulled")
        assert await catalogue.progress("e", "c") == SeriesProgress(begun=2, over=1, next_number=3, free_numbers=(1,))
        assert await catalogue.progress("e", "other") == SeriesProgress(1, 0, 8, tuple(range(7)))


async def test_an_annulled_match_is_kept_and_its_tickets_open_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "c") as catalogue:
        await add(catalogue, match(0), match(1))
        await catalogue.annul_match(match(0).id, 3.0, "annulled")
        assert await catalogue.holder(f"{match(0).id}0".encode()) is None
        assert await catalogue.holder(f"{match(1).id}1".encode()) == (match(1).id, 1)
        row = await catalogue.match(match(0).id)
        assert row is not None
        assert (row.annulled, row.reason, row.ended) == (True, "annulled", 3.0)
        assert [row.id for row in await catalogue.open_matches()] == [match(1).id]


async def test_of_an_upload_and_an_annulment_that_cross_the_first_counts(tmp_path: Path) -> None:
    """Or two matches of one number, and so of one seed, could both have data."""
    async with opened(tmp_path / "c") as catalogue:
        await add(catalogue, match(0), match(1))
        uploads = [UploadRow(match(n).id, 0, 0, b"", b"", 1, 1, "complete", 0.0) for n in range(2)]
        await catalogue.add_upload(uploads[0])
        assert not await catalogue.annul_match(match(0).id, 1.0, "annulled")
        assert await catalogue.annul_match(match(1).id, 1.0, "annulled")
        with pytest.raises(AnnulledError):
            await catalogue.add_upload(uploads[1])
        assert await catalogue.all_uploads() == [uploads[0]]
        assert (await catalogue.progress("e", "c")).begun == 1


async def test_refusals_are_one_row_for_each_reason_and_reasons_go_with_the_verdict(tmp_path: Path) -> None:
    async with opened(tmp_path / "c") as catalogue:
        await add(catalogue, match(0))
        for at in range(3):
            await catalogue.add_refusal(match(0).id, 0, 1, "too_large", f"more than {at} bytes", float(at))
        await catalogue.add_refusal(match(0).id, 0, 1, "bad_export", "not one", 9.0)
        (bad, large) = await catalogue.refusals()
        assert (bad.code, bad.times) == ("bad_export", 1)
        assert (large.times, large.first, large.last, large.reason) == (3, 0.0, 2.0, "more than 2 bytes")
        row = UnjudgedRow(match(0).id, 0, "deadline", "took too long", (0, 1), 1.0)
        await catalogue.set_unjudged(row)
        assert await catalogue.unjudged() == [row]


# --- the thread -------------------------------------------------------------------------------------------------


class Failing:
    """A connection on which some statements fail."""

    def __init__(self, real: sqlite3.Connection, *statements: str) -> None:
        self._real = real
        self.statements = statements

    @property
    def in_transaction(self) -> bool:
        return self._real.in_transaction

    def execute(self, statement: str, *values: Any) -> Any:
        if statement in self.statements:
            raise sqlite3.OperationalError("disk I/O error")
        return self._real.execute(statement, *values)

    def executemany(self, statement: str, values: Any) -> Any:
        return self._real.executemany(statement, values)

    def close(self) -> None:
        self._real.close()


def fail(catalogue: SqliteCatalogue, *statements: str) -> None:
    catalogue._connection = cast("Any", Failing(cast("sqlite3.Connection", catalogue._connection), *statements))


@pytest.mark.parametrize(
    "statements",
    [
        ("BEGIN IMMEDIATE",),
        ("COMMIT",),
        ("COMMIT", "ROLLBACK"),
        ("SAVEPOINT one", "ROLLBACK"),
        ("RELEASE one", "ROLLBACK"),
    ],
)
async def test_no_failure_of_a_transaction_ends_the_thread(tmp_path: Path, statements: tuple[str, ...]) -> None:
    async with asyncio.timeout(WAIT), opened(tmp_path / "c") as catalogue:
        await add(catalogue, match(0))
        assert await catalogue.health() is None
        fail(catalogue, *statements)
        for _ in range(2 if "ROLLBACK" not in statements else 1):
            with pytest.raises(CatalogueError, match="disk I/O error"):
                await add(catalogue, match(1))
        if "ROLLBACK" not in statements:
            assert "disk I/O error" in str(await catalogue.health())
            cast("Any", catalogue._connection).statements = ()
        await add(catalogue, match(1))  # nothing of what failed was done, and a failed connection was replaced
        assert await catalogue.health() is None
        assert await catalogue.call(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)
        assert await catalogue.call(lambda db: db.execute("PRAGMA foreign_keys").fetchone()) == (1,)


async def test_what_one_call_does_wrong_does_not_undo_the_others(tmp_path: Path) -> None:
    async with opened(tmp_path / "c") as catalogue:
        calls: list[Callable[[sqlite3.Connection], object]] = [
            lambda db: db.execute("INSERT INTO nothing VALUES (1)"),
            lambda db: 1 / 0,
        ]
        answers = await asyncio.gather(
            add(catalogue, match(0)), *map(catalogue.call, calls), add(catalogue, match(1)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [
            type(None), CatalogueError, ZeroDivisionError, type(None)
        ]  # fmt: skip
        assert len(await catalogue.open_matches()) == 2


async def test_a_thread_that_is_gone_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(WAIT), opened(tmp_path / "c") as catalogue:

        def end(_: sqlite3.Connection) -> None:
            raise SystemExit  # what no code of ours raises: the last thing that could still end the thread

        monkeypatch.setattr("threading.excepthook", lambda _: None)
        with pytest.raises(CatalogueGoneError):
            await catalogue.call(end)
        for _ in range(3):
            with pytest.raises(CatalogueGoneError):
                await catalogue.open_matches()
        assert not catalogue.alive
        assert "restart" in str(await catalogue.health())


async def test_a_closed_catalogue_is_said_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "c") as catalogue:
        pass
    with pytest.raises(Stopped):
        await catalogue.open_matches()
    assert "closed" in str(await catalogue.health())


async def test_a_lock_that_another_program_holds_is_told_from_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollgym.server.storage.sqlite import database

    monkeypatch.setattr(database, "BUSY", 0.0)
    path = tmp_path / "c"
    async with opened(path) as catalogue:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(CatalogueError, match="locked") as caught:
                await catalogue.open_matches()
            assert (caught.value.kind, caught.value.final) == ("busy", False)
        await catalogue.open_matches()


@pytest.mark.parametrize("damage", ["page", "head", "empty text"])
def test_damage_is_said_with_the_way_out(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "catalogue.sqlite"
    SqliteCatalogue(path).close()
    content = bytearray(path.read_bytes())
    if damage == "page":
        content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    elif damage == "head":
        content[:100] = bytes(range(100))
    else:
        content = bytearray(b"this is no database")
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=f"rollgym catalogue rebuild {tmp_path}") as caught:
        SqliteCatalogue(path)
    assert "\n" not in str(caught.value)
