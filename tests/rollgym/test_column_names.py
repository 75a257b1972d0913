"""Whatever agents and keys are called, every value has a column of its own, and its name can be taken apart again."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import rollgym
from rollgym.cli import app
from rollgym.dataset import flat_infos
from rollgym.dataset import flat_table as flat
from rollgym.dataset.compare import compare_files
from rollgym.dataset.stored_spaces import renamed
from rollgym.games.contract import GameSpec, Outcome
from rollgym.games.counter_rng import Draws, sampler
from rollgym.games.identity import identity
from rollgym.games.record.columns import CanonicalBuilder
from rollgym.games.spaces.described import leaves
from rollgym.protocol.column_names import joined, split
from rollgym.protocol.episode.export import Canonical, Export, Header, Own, content_digest
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.files.parquet import EpisodeFileError, read_episode, write_episode
from rollgym.protocol.messages import PlaySettings
from tests.games.space_strategies import leaf_spaces

odd = st.text("a./%#0,;\"'\n é", max_size=4)
_count = itertools.count()


@given(st.lists(odd | st.text(max_size=5), min_size=1, max_size=4), st.sampled_from("./"))
def test_names_can_be_taken_apart(parts: list[str], separator: str) -> None:
    assert split(joined(parts, separator), separator) == parts


@given(st.lists(st.text("ab_ 0é", min_size=1), min_size=1), st.sampled_from("./"))
def test_plain_names_stay_as_they_are(parts: list[str], separator: str) -> None:
    assert joined(parts, separator) == separator.join(parts)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (["actions", "a.b"], "actions.a%2Eb"),
        (["actions", "a", "b"], "actions.a.b"),
        (["infos", "100%", ""], "infos.100%25.%"),
        (["infos", "", "%"], "infos.%.%25"),
        (["infos", "%2E"], "infos.%252E"),
    ],
)
def test_how_odd_names_are_written(parts: list[str], name: str) -> None:
    assert joined(parts, ".") == name


nests: st.SearchStrategy[spaces.Space[Any]] = st.recursive(
    leaf_spaces,
    lambda inner: st.one_of(
        st.dictionaries(odd, inner, min_size=1, max_size=3).map(spaces.Dict),
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
    ),
    max_leaves=4,
)


def cells(space: spaces.Space[Any], value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every number in a member of a space, with its place. Written apart from the product's own walk."""
    if isinstance(space, spaces.Dict):
        for key in space.spaces:
            yield from cells(space.spaces[key], value[key], (*path, key))
    elif isinstance(space, spaces.Tuple):
        for index, part in enumerate(space.spaces):
            yield from cells(part, value[index], (*path, str(index)))
    else:
        array = np.asarray(value)
        for at in np.ndindex(array.shape):
            yield (*path, *map(str, at)), array[at].item()


def same(one: Any, two: Any) -> bool:
    return bool(one == two) or (one != one and two != two)


def drawn(space: spaces.Space[Any], row: int) -> Any:
    """A member of any space: Gymnasium's own ``sample`` fails where the bounds are as wide as the type."""
    return sampler(space)(Draws(1, 0, 0, row))


def episode(path: Path, spec: GameSpec, frames: int) -> tuple[list[Any], list[Any], list[Any]]:
    """A file of an episode of random values: what was seen, done and told, by row and agent."""
    seen = [tuple(drawn(space, row) for space in spec.observation_spaces) for row in range(frames + 1)]
    done = [tuple(drawn(space, row) for space in spec.action_spaces) for row in range(frames)]
    told = [tuple({"": row, "a.b": agent, "a": {"b": 1}} for agent in spec.agents) for row in range(frames + 1)]
    builder = CanonicalBuilder(spec)
    builder.start(told[0], seen[0], 1)
    agents = len(spec.agents)
    for row in range(frames):
        over = (row == frames - 1,) * agents
        outcome = Outcome((0.5,) * agents, over, (False,) * agents, told[row + 1], all(over))
        inputs = tuple(codec.encode(action) for codec, action in zip(spec.codecs, done[row], strict=True))
        builder.append(inputs, (0,) * agents, outcome, seen[row + 1], 2)
    header = Header(
        *("m", 0, 1, 2, identity(spec), PlaySettings()), tuple(f"p{n}" for n in range(agents)), frames, "complete"
    )
    canonical = builder.build()
    own = Own(0, {}, [], None, {}, {}, {}, 0.0, 0.0)
    export = Export(header, canonical, own, content_digest(header, canonical))
    with pytest.raises(ValueError, match="own"):  # what comes before it is in order: the server takes such names
        check_export(export)
    write_episode(path, header, canonical, None, {"verdict": "verified"})
    return seen, done, told


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_cell_is_in_every_form(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp(f"names{next(_count)}")
    agents = tuple(data.draw(st.lists(odd.filter(bool), min_size=1, max_size=3, unique=True)))
    acts = tuple(data.draw(nests) for _ in agents)
    sees = tuple(data.draw(nests) for _ in agents)
    spec = GameSpec("toy", "1", agents, acts, sees, tuple(drawn(space, 0) for space in acts), 30)
    frames = 3
    seen, done, told = episode(folder / "canonical.parquet", spec, frames)
    expected: dict[tuple[str, ...], list[Any]] = {}
    for index, agent in enumerate(agents):
        for top, space, rows in (("observations", sees[index], seen), ("actions", acts[index], done)):
            for row in rows[:frames]:
                for place, value in cells(space, row[index], (top, agent)):
                    expected.setdefault(place, []).append(value)
        expected["infos", agent, ""] = list(range(1, frames + 1))
        expected["infos", agent, "a.b"] = [agent] * frames
        expected["infos", agent, "a"] = ['{"b": 1}'] * frames

    (loaded,) = rollgym.load(folder)
    for index, agent in enumerate(agents):
        assert loaded.infos[agent] == [row[index] for row in told]
        for row in range(frames + 1):
            part = _row(sees[index], loaded.observations[agent], row)
            pairs = zip(cells(sees[index], part, ()), cells(sees[index], seen[row][index], ()), strict=True)
            assert all(one[0] == two[0] and same(one[1], two[1]) for one, two in pairs)

    for form in ("csv", "parquet"):
        arguments = ["export", str(folder), "--format", form, "--out", str(folder / form)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    (flat,) = folder.glob("parquet/**/*.parquet")
    (text,) = folder.glob("csv/**/*.csv")
    tables = {"table": loaded.table(), "parquet": pq.read_table(flat)}
    for name, table in tables.items():
        assert len(set(table.column_names)) == len(table.column_names), name
        found = {tuple(split(column, ".")): table[column].to_pylist() for column in table.column_names}
        found = {place: values for place, values in found.items() if place[0] in ("observations", "actions", "infos")}
        assert found.keys() == expected.keys(), name
        assert all(same(a, b) for place in found for a, b in zip(found[place], expected[place], strict=True)), name
    with text.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    places = [tuple(split(name, ".")) for name in names]
    kept = [place for place in places if place[0] in ("observations", "actions", "infos")]
    assert sorted(kept) == sorted(expected)
    assert sum(len(values) for values in expected.values()) == len(kept) * len(rows)
    for one, two in itertools.permutations((folder / "canonical.parquet", flat, text), 2):
        assert compare_files(one, two).identical, compare_files(one, two)
    about = json.loads(text.with_suffix(".json").read_text())
    assert about["final"].keys() == {"stateDigest", *(name for name in names if name.startswith("observations."))}


COLLIDING = GameSpec(
    *("toy", "1", ("a", "a.b"), (spaces.Discrete(2),) * 2),
    (spaces.Dict({"b": spaces.Discrete(3), "b/c": spaces.Discrete(3), "": spaces.Discrete(3)}), spaces.Discrete(3)),
    *((0, 0), 30),
)


def _without_escapes(parts: Iterable[str], separator: str) -> str:
    return separator.join(filter(None, parts))


def test_mutation_names_that_are_only_joined_lose_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    episode(tmp_path / "canonical.parquet", COLLIDING, 3)
    (loaded,) = rollgym.load(tmp_path)
    assert {"observations.a%2Eb", "observations.a.b", "infos.a%2Eb.a", "infos.a.a%2Eb"} <= {
        *loaded.table().column_names
    }
    for module in (flat, flat_infos):
        monkeypatch.setattr(module, "joined", _without_escapes)
    with pytest.raises(EpisodeFileError, match="two columns of the name"):
        loaded.table()


def _row(space: spaces.Space[Any], columns: Any, row: int) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _row(part, columns[key], row) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_row(part, columns[index], row) for index, part in enumerate(space.spaces))
    return columns[row]


def test_keys_that_would_make_one_path_of_two_have_two() -> None:
    space = spaces.Dict({"a/b": spaces.Discrete(2), "a": spaces.Dict(b=spaces.Discrete(2)), "": spaces.Discrete(2)})
    assert [leaf.path for leaf in leaves(space)] == ["%", "a/b", "a%2Fb"]
    assert [leaf.keys for leaf in leaves(space)] == [("",), ("a", "b"), ("a/b",)]


def test_files_from_before_names_were_escaped_are_read(tmp_path: Path) -> None:
    """Where no two columns had one name, they were only joined."""
    space = spaces.Dict({"win%": spaces.Discrete(3), "a/b": spaces.Discrete(3)})
    spec = GameSpec("toy", "1", ("p", "q%"), (spaces.Discrete(2),) * 2, (space, spaces.Discrete(3)), (0, 0), 30)
    seen, _, _ = episode(tmp_path / "canonical.parquet", spec, 3)
    new = read_episode(tmp_path / "canonical.parquet")
    assert new.canonical is not None
    before = {"/".join(split(name, "/")): name for name in new.canonical.columns}
    assert {"observations/p/a/b", "observations/p/win%", "observations/q%"} <= before.keys()
    columns = {old: new.canonical.columns[name] for old, name in before.items()}
    write_episode(tmp_path / "old.parquet", new.header, Canonical(columns, new.canonical.infos), None, new.extra)
    (loaded,) = rollgym.load(tmp_path / "old.parquet")
    assert loaded.observations["p"]["a/b"].tolist() == [row[0]["a/b"] for row in seen]
    assert loaded.observations["q%"].tolist() == [row[1] for row in seen]
    assert "observations.p.win%25" in loaded.table().column_names
    assert compare_files(tmp_path / "old.parquet", tmp_path / "canonical.parquet").identical
    assert renamed(new.header.game, columns).keys() == new.canonical.columns.keys()
