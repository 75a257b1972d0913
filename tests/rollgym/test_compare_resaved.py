"""compare: whatever differs is found, in any form and type; what other programs only wrote otherwise is equal."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from rollgym.cli import app
from rollgym.dataset.compare import cells as compare_cells
from rollgym.dataset.compare import compare_files, compare_paths, files
from rollgym.dataset.compare.folders import FolderComparison
from rollgym.dataset.flat_infos import is_json
from rollgym.games.contract import GameSpec, Outcome
from rollgym.games.identity import identity
from rollgym.games.record.columns import CanonicalBuilder
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import Canonical, Header, Info
from rollgym.protocol.episode.values import pack_value, unpack_value
from rollgym.protocol.files.parquet import read_episode, write_episode
from rollgym.protocol.messages import PlaySettings

Told = list[tuple[dict[str, Any], dict[str, Any]]]

RICH: Told = [
    ({"start": 1}, {"text": "x"}),
    ({"bool": True, "int": 3, "float": -0.0, "text": "1", "mixed": 1, "list": [-0.0, 1, "1"]}, {"text": "nan"}),
    ({"int": -4, "float": float("nan"), "text": "true", "mixed": "1", "half": np.float16(0.1)}, {"text": 'a,"b"\n'}),
    ({"bool": False, "float": 0.1, "text": "", "mixed": 1.0, "single": np.float32(0.1)}, {"text": "caf\udce9"}),
    ({"int": 2**62 + 1, "text": "1.0", "list": {"a": None}, "byte": np.uint8(200), "none": None}, {"text": b"\x01"}),
]
"""Infos by row and agent, each of them easily taken for another."""

TAME: Told = [
    ({}, {}),
    ({"bool": True, "int": 3, "float": -0.5, "text": "hit it", "list": [1, "one"]}, {"text": "x"}),
    ({"int": -4, "float": 0.1, "text": 'a,"b"', "half": np.float16(0.1)}, {}),
    ({"bool": False, "float": 3.0, "single": np.float32(0.1), "list": {"a": None}}, {"text": "y"}),
    ({"int": 7, "byte": np.uint8(200), "flag": np.True_}, {}),
]
"""What a spreadsheet and pandas can hold."""

SPACE = spaces.Dict({"at": spaces.Box(-9, 9, (2,), np.float32), "on": spaces.Discrete(3)})
SPEC = GameSpec("toy", "1", ("a", "b"), (SPACE["on"], SPACE), (SPACE, SPACE["on"]), (0, SPACE.sample()), 30)
_count = itertools.count()


def write(folder: Path, told: Told) -> dict[str, Path]:
    """One episode in all forms."""
    folder.mkdir()
    frames = len(told) - 1
    SPACE.seed(3)
    builder = CanonicalBuilder(SPEC)
    builder.start(told[0], (SPACE.sample(), 1), 5)
    for row in range(frames):
        over = (row == frames - 1,) * 2
        outcome = Outcome((0.25 * row, -1.0), over, (False, False), told[row + 1], all(over))
        joint = (SPEC.codecs[0].encode(row % 3), SPEC.codecs[1].encode(SPACE.sample()))
        builder.append(joint, (0, 0), outcome, (SPACE.sample(), 2), 2**63 + row)
    header = Header("m", 0, 1, 2, identity(SPEC), PlaySettings(), ("p", "q"), frames, "complete")
    path = folder / "canonical.parquet"
    write_episode(path, header, builder.build(), None, {"verdict": "verified"})
    found = {"episode": path}
    for form, name in (("flat", "parquet"), ("csv", "csv")):
        done = CliRunner().invoke(app, ["export", str(path), "--format", name, "--out", str(folder / name)])
        assert done.exit_code == 0, done.output
        (found[form],) = folder.glob(f"{name}/**/*.{name}")
    return found


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write(tmp_path_factory.mktemp("rich") / "forms", RICH)


@pytest.fixture(scope="module")
def tame(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write(tmp_path_factory.mktemp("tame") / "forms", TAME)


def test_the_forms_are_equal(rich: dict[str, Path], tame: dict[str, Path]) -> None:
    for forms in (rich, tame):
        for one, two in itertools.product(forms.values(), repeat=2):
            assert compare_files(one, two).identical, compare_files(one, two)


# --- one cell is another ----------------------------------------------------------------------------------------


OF_ALL_ROWS = ("match", "episode_num", "t")
TEXTS = ["1", "1.0", "true", "TRUE", "nan", "NaN", "?", ""]


def others(value: Any, kind: str) -> list[Any]:
    """Values of a kind that are easily taken for this one, and none at all."""
    pools: dict[str, list[Any]] = {
        "text": [*TEXTS],
        "bool": [True, False],
        "int": [0, 1, 7],
        "float": [0.0, -0.0, 0.5, np.nan],
    }
    pool = pools[kind]
    if kind == "float" and value is not None and np.isfinite(value):
        pool = [*pool, np.nextafter(value, type(value)(np.inf))]
    return [other for other in [*pool, None] if repr(_item(other)) != repr(_item(value))]


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def change_flat(draw: st.DataObject, path: Path, out: Path) -> str:
    table = pq.read_table(path)
    name: str = draw.draw(st.sampled_from([name for name in table.column_names if name not in OF_ALL_ROWS]))
    field = table.schema.field(name)
    values: list[Any] = table[name].to_pylist()
    row = draw.draw(st.integers(0, len(values) - 1))
    if is_json(field):
        cells = ["null", "1", "1.0", '"1"', '[0.0, 1, "1"]', '[-0.0, 1.0, "1"]', None]
        pool = [cell for cell in cells if cell != values[row]]
    elif pa.types.is_floating(field.type):
        dtype = field.type.to_pandas_dtype()
        values = [None if value is None else dtype(value) for value in values]
        pool = others(values[row], "float")
    elif pa.types.is_boolean(field.type):
        pool = others(values[row], "bool")
    else:
        pool = others(values[row], "text" if pa.types.is_string(field.type) else "int")
    values[row] = draw.draw(st.sampled_from(pool))
    mask = np.array([value is None for value in values])
    if pa.types.is_floating(field.type):
        dense = np.array([0.0 if value is None else value for value in values], field.type.to_pandas_dtype())
        column = pa.array(dense, field.type, mask=mask)
    else:
        column = pa.array(values, field.type)
    pq.write_table(table.set_column(table.column_names.index(name), field, column), out)
    return name


def change_csv(draw: st.DataObject, path: Path, out: Path) -> str:
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    at = draw.draw(st.sampled_from([n for n, name in enumerate(names) if name not in OF_ALL_ROWS]))
    row = draw.draw(st.integers(0, len(rows) - 1))
    types = json.loads(path.with_suffix(".json").read_text())["columns"]
    old = rows[row][at]
    if types[names[at]] == "string":
        new = draw.draw(st.sampled_from([c for c in ("1", "1.0", "TRUE", "true", "NaN", "nan", "?") if c != old]))
    else:
        new = draw.draw(st.sampled_from([c for c in ("5.5", "", "x", "[0.0]", "null", "-7", "12") if c != old]))
    rows[row][at] = new
    with out.open("w", newline="", encoding="utf-8") as file:
        # Quotes tell an empty text from no value; the reader of this test does not.
        csv.writer(file).writerows([names, *rows])
    return names[at]


def change_episode(draw: st.DataObject, path: Path, out: Path) -> str:
    stored = read_episode(path)
    assert stored.canonical is not None
    columns, infos = dict(stored.canonical.columns), list(stored.canonical.infos)
    if draw.draw(st.booleans()):
        name = draw.draw(st.sampled_from(sorted(columns.keys() - {"frame"})))
        values = columns[name].array().copy()
        flat = values.reshape(-1)
        at = draw.draw(st.integers(0, len(flat) - 1))
        if name.startswith("actions/"):
            flat[at] ^= 1  # of every action here a bit more or less is an action too
        elif values.dtype == bool:
            flat[at] = not flat[at]
        else:
            flat[at] = np.nextafter(flat[at], np.inf, dtype=flat.dtype) if values.dtype.kind == "f" else flat[at] + 1
        columns[name] = Column.of(values)
    else:
        at = draw.draw(st.integers(0, len(infos) - 1))
        info = infos[at]
        name = f"infos {info.row} {info.key}"
        value = unpack_value(info.value)
        kinds = [("bool", bool | np.bool_), ("int", int | np.integer), ("float", float | np.floating), ("text", str)]
        kind = next((kind for kind, of in kinds if isinstance(value, of)), None)
        new = [value] if kind is None else draw.draw(st.sampled_from(others(value, kind)))
        infos[at] = Info(info.row, info.agent, info.key, pack_value(new))
    write_episode(out, stored.header, Canonical(columns, infos), None, stored.extra)
    return name


CHANGES: dict[str, Callable[[st.DataObject, Path, Path], str]] = {
    "episode": change_episode,
    "flat": change_flat,
    "csv": change_csv,
}


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(sorted(CHANGES)), st.sampled_from(sorted(CHANGES)), st.booleans())
def test_one_changed_cell_is_found(
    rich: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    form: str,
    other: str,
    with_types: bool,
) -> None:
    out = tmp_path_factory.getbasetemp() / f"changed{next(_count)}{rich[form].suffix}"
    name = CHANGES[form](data, rich[form], out)
    if form == "csv" and with_types:
        shutil.copy(rich[form].with_suffix(".json"), out.with_suffix(".json"))
    for pair in ((rich[other], out), (out, rich[other])):
        found = compare_files(*pair)
        assert not found.identical, name
        assert found.differing_rows or found.differing_fields or found.difference is not None


def test_mutation_values_that_are_read_wherever_they_can_be(
    rich: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pq.read_table(rich["flat"])
    values = table["infos.a.text"].to_pylist()
    assert values[3] == "1.0"
    field = table.schema.field("infos.a.text")
    other = pa.array([*values[:3], "1"], pa.string())
    pq.write_table(table.set_column(table.column_names.index("infos.a.text"), field, other), tmp_path / "o.parquet")
    assert compare_files(rich["episode"], tmp_path / "o.parquet").differing_rows == {"infos.a.text": 1}
    monkeypatch.setattr(files, "differing", lambda left, right: compare_cells._by_value(_text(left), _text(right)))
    assert compare_files(rich["episode"], tmp_path / "o.parquet").identical


def _text(column: Any) -> Any:
    return column._replace(form="text") if pa.types.is_string(column.values.type) else column._replace(form="numbers")


# --- saved again ------------------------------------------------------------------------------------------------

Rows = list[list[str]]


def rows_of(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def saved(out: Path, rows: Rows, *, encoding: str = "utf-8", delimiter: str = ",", end: str = "\r\n") -> Path:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    data = text.getvalue().encode(encoding)
    out.write_bytes(gzip.compress(data) if out.name.endswith(".gz") else data)
    return out


def shuffled(rows: Rows) -> Rows:
    head, *rest = rows
    order = list(range(len(head)))
    random.Random(1).shuffle(order)
    random.Random(2).shuffle(rest)
    return [[row[at] for at in order] for row in [head, *rest]]


def upper(rows: Rows) -> Rows:
    return [[{"true": "TRUE", "false": "FALSE"}.get(cell, cell) for cell in row] for row in rows]


def by_pandas(out: Path, source: Path, index: bool) -> Path:
    import pandas

    table = pandas.read_parquet(source) if source.suffix == ".parquet" else pandas.read_csv(source)
    if out.suffix == ".parquet":
        table.to_parquet(out, index=index)
    else:
        table.to_csv(out, index=index, sep="\t" if ".tsv" in out.name else ",")
    return out


SAVED: dict[str, Callable[[Path, dict[str, Path]], Path]] = {
    "as it was": lambda out, forms: saved(out / "s.csv", rows_of(forms["csv"])),
    "bom": lambda out, forms: saved(out / "s.csv", rows_of(forms["csv"]), encoding="utf-8-sig"),
    "utf-16": lambda out, forms: saved(out / "s.csv", rows_of(forms["csv"]), encoding="utf-16"),
    "newlines": lambda out, forms: saved(out / "s.csv", rows_of(forms["csv"]), end="\n"),
    "semicolons": lambda out, forms: saved(out / "s.csv", rows_of(forms["csv"]), delimiter=";"),
    "tabs": lambda out, forms: saved(out / "s.tsv", rows_of(forms["csv"]), delimiter="\t"),
    "packed": lambda out, forms: saved(out / "s.csv.gz", rows_of(forms["csv"])),
    "packed tabs": lambda out, forms: saved(out / "s.TSV.GZ".lower(), rows_of(forms["csv"]), delimiter="\t"),
    "blank lines": lambda out, forms: saved(out / "s.csv", [*rows_of(forms["csv"]), [], []]),
    "sorted otherwise": lambda out, forms: saved(out / "s.csv", shuffled(rows_of(forms["csv"]))),
    "TRUE": lambda out, forms: saved(out / "s.csv", upper(rows_of(forms["csv"]))),
    "pandas": lambda out, forms: by_pandas(out / "s.csv", forms["csv"], False),
    "pandas index": lambda out, forms: by_pandas(out / "s.csv", forms["csv"], True),
    "pandas tsv": lambda out, forms: by_pandas(out / "s.tsv", forms["csv"], False),
    "pandas gz": lambda out, forms: by_pandas(out / "s.csv.gz", forms["csv"], False),
    "pandas parquet": lambda out, forms: by_pandas(out / "s.parquet", forms["csv"], False),
    "pandas from parquet": lambda out, forms: by_pandas(out / "s.parquet", forms["flat"], True),
    "pandas csv from parquet": lambda out, forms: by_pandas(out / "s.csv", forms["flat"], False),
}


@pytest.mark.parametrize("how", SAVED)
def test_a_file_that_was_saved_again_is_equal(tame: dict[str, Path], tmp_path: Path, how: str) -> None:
    again = SAVED[how](tmp_path, tame)
    for form, path in tame.items():
        for pair in ((path, again), (again, path)):
            assert compare_files(*pair).identical, (form, compare_files(*pair))


@pytest.mark.parametrize("how", SAVED)
def test_and_one_changed_reward_in_it_is_found(tame: dict[str, Path], tmp_path: Path, how: str) -> None:
    rows = rows_of(tame["csv"])
    at = rows[0].index("rewards.a")
    assert rows[3][at] == "0.5"
    rows[3][at] = "0.75"
    flat = pq.read_table(tame["flat"])
    values = [*flat["rewards.a"].to_pylist()[:2], 0.75, *flat["rewards.a"].to_pylist()[3:]]
    flat = flat.set_column(flat.column_names.index("rewards.a"), "rewards.a", pa.array(values))
    pq.write_table(flat, tmp_path / "flat.parquet")
    changed = {"csv": saved(tmp_path / "changed.csv", rows), "flat": tmp_path / "flat.parquet"}
    again = SAVED[how](tmp_path, changed)
    for path in tame.values():
        found = compare_files(path, again)
        assert (found.differing_rows, found.differing_fields) == ({"rewards.a": 1}, []), found


def test_an_extra_column_is_a_difference(tame: dict[str, Path], tmp_path: Path) -> None:
    rows = rows_of(tame["csv"])
    for name, cells in (("note", ["", "", "", ""]), ("observations.a.more", ["1"] * 4), ("7", ["0", "1", "2", "3"])):
        more = [[*row, cell] for row, cell in zip(rows, [name, *cells], strict=True)]
        assert compare_files(tame["csv"], saved(tmp_path / "more.csv", more)).differing_fields == [name]


# --- folders ----------------------------------------------------------------------------------------------------


def test_multi_user_gymnasiums_folders_of_subjects(tame: dict[str, Path], tmp_path: Path) -> None:
    for subject in ("abc", "def"):
        (tmp_path / subject).mkdir()
        for episode in range(2):
            rows = [row[2:] for row in rows_of(tame["csv"])]
            assert rows[0][0] == "t"  # no column says of which match and episode it is
            saved(tmp_path / subject / f"{subject}_ep{episode}.csv", rows)
    found = compare_paths(tmp_path / "abc", tmp_path / "def")
    assert isinstance(found, FolderComparison)
    assert (found.identical, len(found.pairs)) == (True, 2)
    assert [Path(pair.second).name for pair in found.pairs] == ["def_ep0.csv", "def_ep1.csv"]
    single = compare_paths(tmp_path / "abc" / "abc_ep1.csv", tmp_path / "def")
    assert single.second.endswith("def_ep1.csv")


def matches(folder: Path, seeds: dict[str, int], source: Path) -> Path:
    """Episodes of matches of these ids and seeds, each a little different."""
    stored = read_episode(source)
    assert stored.canonical is not None
    for match, seed in seeds.items():
        place = folder / "episodes" / match / "episode_000000"
        place.mkdir(parents=True)
        header = type(stored.header)(
            *(match, 0, seed, 2, stored.header.game, stored.header.settings, ("p", "q"), 4, "complete")
        )
        rewards = stored.canonical.columns["rewards"].array() + seed
        columns = {**stored.canonical.columns, "rewards": Column.of(rewards)}
        write_episode(place / "canonical.parquet", header, Canonical(columns, stored.canonical.infos), None, {})
    return folder


def test_folders_of_several_matches(tame: dict[str, Path], tmp_path: Path) -> None:
    first = matches(tmp_path / "one", {"m1": 1, "m2": 2, "m3": 3}, tame["episode"])
    same = compare_paths(first, first)
    assert isinstance(same, FolderComparison)
    assert (same.identical, len(same.pairs)) == (True, 3)
    # One match of three: by its id.
    part = compare_paths(first, matches(tmp_path / "two", {"m2": 2}, tame["episode"]))
    assert isinstance(part, FolderComparison)
    assert [pair.identical for pair in part.pairs] == [True]
    assert (len(part.only_first), part.only_second, part.identical) == (2, [], False)
    # Played again: other ids, the same seeds. Only the id differs.
    again = compare_paths(first, matches(tmp_path / "three", {"n9": 2, "n8": 3, "n7": 1}, tame["episode"]))
    assert isinstance(again, FolderComparison)
    assert [pair.differing_fields for pair in again.pairs] == [["header.match"]] * 3
    assert [pair.differing_rows for pair in again.pairs] == [{}] * 3
