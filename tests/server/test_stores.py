"""What holds for every store of uploads and episodes; and a whole match over one that is not the embedded one."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import rollgym.server
from rollgym.protocol.files.parquet import read_episode
from rollgym.server.http.server import Server
from rollgym.server.storage.episode_store import EpisodeStore
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.keys import EpisodeKey, UploadKey, is_match_id
from rollgym.server.storage.record import Record, embedded
from tests.server.clients import Client, make_settings, pair, running, until
from tests.server.content_store import ContentStore
from tests.server.exports import altered, make_export
from tests.server.test_recovery import until_killed

MATCHES = ["m" + digit * 24 for digit in "0a"]
NAMES = ["canonical.parquet", "player_0.parquet", "canonical.player_1.parquet"]
STORES: list[Callable[[Path], EpisodeStore]] = [FolderStore, ContentStore]

uploads = st.builds(UploadKey, st.sampled_from(MATCHES), st.integers(0, 2), st.integers(0, 1))
episodes = st.builds(EpisodeKey, st.sampled_from(MATCHES), st.integers(0, 2))
contents = st.binary(max_size=40)


class AsADictionary(RuleBasedStateMachine):
    """Whatever is done to a store, it holds what a dictionary would."""

    make: Callable[[Path], EpisodeStore]
    folder: Path
    number = 0

    @initialize()
    def new(self) -> None:
        type(self).number += 1
        self.store = self.opened = type(self).make(self.folder / str(self.number))
        self.store.open(0)
        self.uploads: dict[UploadKey, bytes] = {}
        self.files: dict[EpisodeKey, dict[str, bytes]] = {}

    def _file(self, content: bytes) -> Path:
        path = self.store.new_temporary()
        path.write_bytes(content)
        return path

    @rule(key=uploads, content=contents)
    def put_upload(self, key: UploadKey, content: bytes) -> None:
        path = self._file(content)
        self.store.put_upload(key, path)
        assert not path.exists()
        self.uploads[key] = content

    @rule(key=episodes, name=st.sampled_from(NAMES), content=contents)
    def put_file(self, key: EpisodeKey, name: str, content: bytes) -> None:
        self.store.put_file(key, name, self._file(content))
        self.files.setdefault(key, {})[name] = content

    @rule(keys=st.lists(uploads, max_size=3))
    def discard_uploads(self, keys: list[UploadKey]) -> None:
        self.store.discard_uploads(iter(keys))
        for key in keys:
            self.uploads.pop(key, None)

    @rule(key=episodes, names=st.sets(st.sampled_from(NAMES)))
    def discard_files(self, key: EpisodeKey, names: set[str]) -> None:
        if key in self.files:
            self.store.discard_files(key, names)
            for name in names:
                self.files[key].pop(name, None)

    @rule()
    def travel(self) -> None:
        """As it goes to a worker process."""
        self.store = pickle.loads(pickle.dumps(self.store))

    @rule()
    def open_again(self) -> None:
        self._file(b"half a file")
        self.opened.close()
        self.store = self.opened = type(self).make(self.folder / str(self.number))
        self.store.open(0)

    @invariant()
    def the_same(self) -> None:
        if not hasattr(self, "store"):
            return
        assert [*self.store.uploads()] == sorted(self.uploads)
        for key, content in self.uploads.items():
            assert self.store.has_upload(key)
            assert self.store.upload(key) == content
            assert self.store.received(key) > 0
            with self.store.upload_file(key) as path:
                assert path.read_bytes() == content
        assert {key for key in self.store.episodes() if self.store.files(key)} == {
            k for k, f in self.files.items() if f
        }
        for episode, files in self.files.items():
            assert self.store.files(episode) == sorted(files)
            for name, content in files.items():
                with self.store.file(episode, name) as path:
                    assert path.read_bytes() == content
                if len(content) >= 4:
                    assert self.store.ends(episode, name, 4) == (content[:4], content[-4:])
        assert [*self.store.strangers()] == []

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.opened.close()


@pytest.mark.parametrize("make", STORES)
def test_a_store_is_a_dictionary_that_lasts(tmp_path: Path, make: Callable[[Path], EpisodeStore]) -> None:
    machine = cast("type[AsADictionary]", type("OfThisStore", (AsADictionary,), {"make": make, "folder": tmp_path}))
    run_state_machine_as_test(machine, settings=settings(max_examples=30, stateful_step_count=25))


@pytest.mark.parametrize("make", STORES)
def test_what_is_not_there_is_said_as_for_files(tmp_path: Path, make: Callable[[Path], EpisodeStore]) -> None:
    store = make(tmp_path)
    store.open(0)
    upload, episode = UploadKey(MATCHES[0], 0, 0), EpisodeKey(MATCHES[0], 0)
    assert not store.has_upload(upload)
    assert store.files(episode) == []
    for read in (
        lambda: store.upload(upload),
        lambda: store.received(upload),
        lambda: store.ends(episode, NAMES[0], 4),
    ):
        with pytest.raises(FileNotFoundError):
            read()
    with store.file(episode, NAMES[0]) as path:
        assert not path.exists()
    store.discard_uploads([upload])
    store.close()
    store.close()


@given(st.text(max_size=30).filter(lambda text: not is_match_id(text)))
def test_no_text_of_a_client_names_anything(text: str) -> None:
    store = FolderStore(Path("data"))
    for name in (
        lambda: store.put_upload(UploadKey(text, 0, 0), Path("x")),
        lambda: store.put_file(EpisodeKey(text, 0), NAMES[0], Path("x")),
        lambda: store.upload(UploadKey(text, 0, 0)),
    ):
        with pytest.raises(ValueError, match="not one of this server"):
            name()


# --- a whole match over another store ---------------------------------------------------------------------------


def in_objects(folder: Path) -> Record:
    """The catalogue where it always is, and the files in a store of another kind."""
    return replace(embedded(folder), store=ContentStore(folder / "objects"))


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Server.__init__

    def with_objects(self: Server, settings: object, *args: object, **kwargs: object) -> None:
        real(self, settings, *args, **kwargs, record=in_objects(settings.data))  # type: ignore[arg-type,attr-defined]

    monkeypatch.setattr(Server, "__init__", with_objects)


@pytest.mark.usefixtures("objects")
async def test_a_match_is_received_judged_and_kept_in_another_store(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    async with running(make_settings(tmp_path / "data")) as server, pair(server.url) as ((one, a), (two, b)):
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
        assert (await one.verdict()).verdict == "verified"
        store, key = server.server.store, EpisodeKey(a.match, 0)
        assert isinstance(store, ContentStore)
        await until(lambda: [*store.uploads()] == [])
        assert store.files(key) == ["canonical.parquet", "player_0.parquet", "player_1.parquet"]
        with store.file(key, "canonical.parquet") as path:
            assert read_episode(path).canonical == make_export(a).canonical
    assert not (tmp_path / "data" / "inbox").exists()
    assert not (tmp_path / "data" / "episodes").exists()


@pytest.mark.usefixtures("objects")
async def test_a_killed_server_goes_on_over_another_store(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    patient = make_settings(tmp_path / "data", upload_grace=600.0)
    async with until_killed(patient) as (_, one, a, _, b):
        await one.upload(a, make_export(a))
    async with running(patient) as server:
        late = Client(server.url)
        assert await late.upload(a, make_export(a)) == "same"
        assert await late.upload(b, altered(make_export(b), "rewards", 2)) == "new"
        await late.http.close()
        await until(lambda: server.server.matches.live[0].verdicts != {})
        row = await server.server.catalogue.verdict(a.match, 0)
        assert row is not None
        assert row.verdict == "diverged"
        assert server.server.orphans == []


# --- nothing else knows what the record is made of ---------------------------------------------------------------

EMBEDDED = {"sqlite3", "fcntl"}


def test_only_the_embedded_record_knows_what_it_is_made_of() -> None:
    root = Path(rollgym.server.__path__[0])
    rooms = (root / "storage" / "sqlite", root / "storage" / "folder.py")
    knowing = {
        str(path.relative_to(root)): found
        for path in root.rglob("*.py")
        if not any(path.is_relative_to(room) for room in rooms) and (found := EMBEDDED & _imported(path))
    }
    assert knowing == {}
    own = [path for room in rooms for path in (room, *room.rglob("*.py"))]
    assert EMBEDDED & set().union(*map(_imported, own)) == EMBEDDED


def _imported(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    tree = ast.walk(ast.parse(path.read_text()))
    return {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
