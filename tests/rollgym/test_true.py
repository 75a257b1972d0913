"""Whatever is verified holds exactly what the environment gave: every frame, agent and key, in every readable form."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from gymnasium import spaces
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import rollgym
from rollgym.cli import app
from rollgym.dataset import csv_cells as cells
from rollgym.dataset import flat_infos
from rollgym.dataset import flat_table as flat
from rollgym.dataset import load as dataset
from rollgym.dataset.csv_cells import texts
from rollgym.dataset.flat_infos import info_json
from rollgym.dataset.load import Episode
from rollgym.dataset.stored_spaces import gather
from rollgym.protocol.column_names import split
from rollgym.protocol.files import infos as parquet_infos
from rollgym.protocol.files.infos import InfoValues, get_info_values
from rollgym.protocol.files.parquet import EpisodeFileError
from tests.games.space_strategies import leaf_spaces
from tests.rollgym import random_envs
from tests.rollgym.random_envs import LOGS, PLANS, EnvPlan

_count = itertools.count()
_played = {"frames": 0, "rollbacks": 0}

odd = st.text("ab./%#0,;\"'\n é", max_size=3)
text = st.text(st.characters(exclude_categories=()), max_size=4)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    text,
    st.sampled_from(["1", "1.0", "true", "nan", "", "[1]", '"a"', "null"]),
    st.binary(max_size=3),
    st.sampled_from([np.float32(0.1), np.float16(-0.0), np.uint8(255), np.int64(-1), np.True_, np.float64(np.nan)]),
    st.sampled_from([np.arange(3, dtype=np.int16), np.zeros((2, 0)), np.array([0.1, np.nan], np.float32)]),
    st.sampled_from([np.complex64(1 - 2j), np.datetime64("2026-01-02", "s"), np.array(["é", "b"]), np.array(b"x")]),
)
info_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.tuples(inner)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
info_keys = odd | st.sampled_from(["a", "a.b", "", "x/y", "100%"])
parts = st.one_of(
    leaf_spaces,
    st.dictionaries(odd, leaf_spaces, min_size=1, max_size=3).map(spaces.Dict),
    st.lists(leaf_spaces, min_size=1, max_size=2).map(spaces.Tuple),
)
nests = parts | st.dictionaries(odd, parts, min_size=1, max_size=2).map(spaces.Dict)
numbers = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def env_plans(draw: st.DrawFn) -> EnvPlan:
    count = draw(st.integers(2, 3))
    names = st.lists(odd.filter(bool), min_size=count, max_size=count, unique=True).map(tuple)
    agents: tuple[Hashable, ...] = draw(names | st.just(tuple(range(count))))
    frames = draw(st.integers(1, 9))
    whoever = st.frozensets(st.integers(0, count - 1), max_size=count - 1)
    out = [draw(whoever) for _ in range(frames - 1)] + [frozenset(range(count))]
    return EnvPlan(
        agents,
        tuple(draw(parts) for _ in agents),
        tuple(draw(nests) for _ in agents),
        frames,
        tuple(out),
        tuple(draw(st.lists(st.dictionaries(info_keys, info_values, max_size=3), min_size=1, max_size=4))),
        tuple(draw(st.lists(numbers, min_size=1, max_size=4))),
    )


# --- what is true -----------------------------------------------------------------------------------------------


class Truth:
    """What an environment's log says the record must hold. By agent, then row or frame."""

    def __init__(self, plan: EnvPlan, returned: dict[int, Any]) -> None:
        assert sorted(returned) == list(range(-1, plan.frames))
        self.seen: dict[str, list[Any]] = {}
        self.told: dict[str, list[dict[str, Any]]] = {}
        self.rewards: dict[str, list[float]] = {}
        self.flags: dict[str, list[tuple[bool, bool]]] = {}
        for key in plan.agents:
            agent, steps = str(key), [returned[frame] for frame in range(plan.frames)]
            self.seen[agent] = [returned[-1][0][key]]
            self.flags[agent] = []
            for observations, _, terminated, truncated, _ in steps:
                self.seen[agent].append(observations.get(key, self.seen[agent][-1]))
                before = self.flags[agent][-1] if self.flags[agent] else (False, False)
                self.flags[agent].append((terminated[key], truncated[key]) if key in terminated else before)
            self.rewards[agent] = [step[1].get(key, 0.0) for step in steps]
            self.told[agent] = [given.get(key, {}) for given in (returned[-1][1], *(step[4] for step in steps))]


def same(one: Any, two: Any) -> bool:
    """Equal to the bit, with types; a tuple may be a list, an array without axes a scalar."""
    if isinstance(one, list | tuple):
        return isinstance(two, list | tuple) and len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, np.ndarray | np.generic):
        if not isinstance(two, np.ndarray | np.generic):
            return False
        return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()
    return type(one) is type(two) and (one == two or one != one) and repr(one) == repr(two)


def leaves(space: spaces.Space[Any], value: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    """Every number in a member of a space, with its place; written apart from the product's own walk."""
    if isinstance(space, spaces.Dict):
        return [item for key in space.spaces for item in leaves(space.spaces[key], value[key], (*path, key))]
    if isinstance(space, spaces.Tuple):
        pairs = enumerate(zip(space.spaces, value, strict=True))
        return [item for n, (part, member) in pairs for item in leaves(part, member, (*path, str(n)))]
    array = np.asarray(value)
    if not isinstance(space, spaces.Discrete):
        array = array.astype(space.dtype)
    return [((*path, *map(str, at)), array[at]) for at in np.ndindex(array.shape)]


PLAIN = (bool, int, float, str)


def as_json(value: Any) -> Any:
    """An info as the documents say that JSON has it."""
    if isinstance(value, dict):
        return {key: as_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    if isinstance(value, np.ndarray) and value.ndim:
        return [as_json(part) for part in value]
    if isinstance(value, bytes):
        return {"%bytes": bytes(value).hex()}
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind == "c":
            return [float(value.real), float(value.imag)]
        if value.dtype.kind == "S":
            return {"%bytes": value.item().hex()}
        return str(value) if value.dtype.kind == "M" else value.item()
    return value


def is_typed(values: list[Any]) -> bool:
    """Whether infos have one plain type, so that their column has it."""
    values = [value[()] if isinstance(value, np.ndarray) and not value.ndim else value for value in values]
    kinds = {type(value) for value in values}
    if len(kinds) != 1:
        return False
    (kind,) = kinds
    if issubclass(kind, np.generic):
        return np.dtype(kind).kind in "biuf"
    return kind in PLAIN and not (
        kind is str and any(value.encode("utf-8", "replace").decode() != value for value in values)
    )


def expected_columns(plan: EnvPlan, truth: Truth, episode: Episode) -> dict[tuple[str, ...], list[Any]]:
    """Every column of the facts of a table by its place, as Python values; JSON is in a list of its own."""
    columns: dict[tuple[str, ...], list[Any]] = {}
    for n, key in enumerate(plan.agents):
        agent = str(key)
        for row in truth.seen[agent][:-1]:
            for place, value in leaves(plan.observations[n], row, ("observations", agent)):
                columns.setdefault(place, []).append(value)
        for frame in range(plan.frames):
            action = episode.actions[agent][frame]
            for place, value in leaves(plan.actions[n], action, ("actions", agent)):
                columns.setdefault(place, []).append(value)
        columns["rewards", agent] = [np.float64(value) for value in truth.rewards[agent]]
        columns["terminateds", agent] = [flags[0] for flags in truth.flags[agent]]
        columns["truncateds", agent] = [flags[1] for flags in truth.flags[agent]]
        columns["inputSource", agent] = [np.uint8(0)] * plan.frames
        for info in {key for told in truth.told[agent] for key in told}:
            rows = [told.get(info, ...) for told in truth.told[agent]]
            typed = is_typed([value for value in rows if value is not ...])
            columns["infos", agent, info] = [None if v is ... else v if typed else [as_json(v)] for v in rows[1:]]
    return columns


# --- the four forms ---------------------------------------------------------------------------------------------


def check_arrays(plan: EnvPlan, truth: Truth, episode: Episode) -> None:
    for n, key in enumerate(plan.agents):
        agent = str(key)
        for row, seen in enumerate(truth.seen[agent]):
            found = leaves(plan.observations[n], _row(plan.observations[n], episode.observations[agent], row), ())
            wanted = leaves(plan.observations[n], seen, ())
            assert [place for place, _ in found] == [place for place, _ in wanted]
            assert all(same(a, b) for (_, a), (_, b) in zip(found, wanted, strict=True)), (agent, row)
        assert same([float(r) for r in truth.rewards[agent]], episode.rewards[agent].tolist())
        ends = zip(episode.terminations[agent].tolist(), episode.truncations[agent].tolist(), strict=True)
        assert list(ends) == truth.flags[agent]
        told = [{k: v[()] if isinstance(v, np.ndarray) else v for k, v in row.items()} for row in truth.told[agent]]
        assert same(told, episode.infos[agent]), (told, episode.infos[agent])
    assert not episode.input_source.any()


def _row(space: spaces.Space[Any], columns: Any, row: int) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _row(part, columns[key], row) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_row(part, columns[n], row) for n, part in enumerate(space.spaces))
    return columns[row]


FACTS = ("observations", "actions", "rewards", "terminateds", "truncateds", "inputSource", "infos")


def check_table(expected: dict[tuple[str, ...], list[Any]], table: pa.Table) -> None:
    found = {tuple(split(name, ".")): name for name in table.column_names}
    assert len(found) == table.num_columns
    assert {place for place in found if place[0] in FACTS} == expected.keys()
    for place, wanted in expected.items():
        field, values = table.schema.field(found[place]), table[found[place]].to_pylist()
        if (field.metadata or {}).get(b"rollgym.cells") == b"json":
            values = [None if value is None else [json.loads(value)] for value in values]
        else:
            dtype = None if pa.types.is_string(field.type) else np.dtype(field.type.to_pandas_dtype())
            wanted = [None if value is None else _plainly(value, dtype) for value in wanted]
        assert same(wanted, values), (place, wanted, values)


def _plainly(value: Any, dtype: np.dtype[Any] | None) -> Any:
    """A value that has a plain type, as Arrow gives it; its own type has to be that of its column."""
    if isinstance(value, np.ndarray | np.generic):
        assert value.dtype == dtype or (value.dtype.kind == "i" and dtype == np.int64), (value.dtype, dtype)
        return value.item()
    assert dtype == {bool: np.bool_, int: np.int64, float: np.float64, str: None}[type(value)]
    return value


def check_csv(expected: dict[tuple[str, ...], list[Any]], path: Path) -> None:
    names, *rows = cells_of(path.read_text(encoding="utf-8"))
    types = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["columns"]
    found = {tuple(split(name, ".")): (types[name], [row[n] for row in rows]) for n, (name, _) in enumerate(names)}
    assert {place for place in found if place[0] in FACTS} == expected.keys()
    for place, wanted in expected.items():
        kind, cells = found[place]
        for value, (cell, quoted) in zip(wanted, cells, strict=True):
            if value is None:
                assert (cell, quoted) == ("", False), place
            elif kind == "json":
                assert same(value, [json.loads(cell)]), (place, value, cell)
            elif kind == "string":
                assert (cell, quoted) == (value, True), (place, value, cell)
            elif kind == "bool":
                assert cell == ("true" if value else "false"), (place, value, cell)
            elif isinstance(value, float | np.floating):
                read = type(value)(cell)
                assert repr(read) == repr(value) or (math.isnan(read) and math.isnan(value)), (place, value, cell)
            else:
                assert cell == str(int(value)), (place, value, cell)


def cells_of(content: str) -> list[list[tuple[str, bool]]]:
    """A CSV file's cells, each with whether it had quotes: an empty text has, no value has none."""
    rows: list[list[tuple[str, bool]]] = [[]]
    at = 0
    while at < len(content):
        quoted, cell = content[at] == '"', ""
        if quoted:
            end = at + 1
            while content[end] != '"' or content[end + 1 : end + 2] == '"':
                step = 2 if content[end] == '"' else 1
                cell += content[end]
                end += step
            at = end + 1
        else:
            end = min(n for n in (content.find(",", at), content.find("\n", at)) if n >= 0)
            cell, at = content[at:end], end
        rows[-1].append((cell, quoted))
        if content[at] == "\n":
            rows.append([])
        elif content[at + 1 : at + 2] == "\n":
            rows[-1].append(("", False))
            at += 1
            rows.append([])
        at += 1
    return [row for row in rows if row]


def play(plan: EnvPlan, folder: Path) -> Episode:
    """Play it under rollback, by way of the command line; the verified episode."""
    number = next(_count)
    PLANS[number] = plan
    LOGS.clear()
    flags = ["--policy", "random", "--latency", "60ms", "--input-delay", "0", "--fps", "30", "--seed", str(number)]
    name = f"{random_envs.__name__}:make"
    arguments = ["simulate", "--game", name, "--param", f"plan={number}", *flags, "--out", str(folder), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["verdicts"], report["frames"]) == (["verified"], plan.frames)
    _played["frames"] += plan.frames
    _played["rollbacks"] += report["rollbacks"]
    (episode,) = rollgym.load(folder, verdict="verified")
    return episode


def check(plan: EnvPlan, folder: Path) -> None:
    episode = play(plan, folder / "data")
    whole = [log.returned for log in LOGS.values() if len(log.returned) == plan.frames + 1]
    assert len(whole) >= 3, "both peers' instances, and the judge's"
    check_forms(plan, [Truth(plan, returned) for returned in whole], episode, folder)


def check_forms(plan: EnvPlan, truths: list[Truth], episode: Episode, folder: Path) -> None:
    """The episode in the dataset ``folder/data`` is each truth, in all four forms."""
    for truth in truths:
        check_arrays(plan, truth, episode)
    expected = expected_columns(plan, truths[-1], episode)
    check_table(expected, episode.table())
    for form in ("parquet", "csv"):
        done = CliRunner().invoke(app, ["export", str(folder / "data"), "--format", form, "--out", str(folder / form)])
        assert done.exit_code == 0, done.output
    (flat,) = (folder / "parquet").rglob("*.parquet")
    check_table(expected, pq.read_table(flat))
    written = list((folder / "csv").rglob("*.csv"))
    assert len(written) == len(plan.agents)
    for path in written:
        check_csv(expected, path)


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate))  # shrinking would take minutes
@given(plan=env_plans())
def test_every_value_is_what_the_environment_returned(plan: EnvPlan, tmp_path_factory: pytest.TempPathFactory) -> None:
    check(plan, tmp_path_factory.mktemp("true"))


def test_and_they_were_played_with_rollbacks() -> None:
    assert _played["frames"] > 25
    assert _played["rollbacks"] > 10


# --- mutations --------------------------------------------------------------------------------------------------

BOX = spaces.Box(-9, 9, (2,), np.float32)
PLAN = EnvPlan(
    ("a", "a.b"),
    (spaces.Discrete(5), spaces.Dict({"b": spaces.Discrete(3)})),
    (spaces.Dict({"b": BOX, "": BOX}), BOX),
    6,
    (*(frozenset[int]() for _ in range(5)), frozenset({0, 1})),
    ({"b": "1.0", "n": np.uint8(3), "m": 1}, {"b": "x", "m": "1"}, {"n": np.uint8(200), "l": (1, -0.0)}),
    (0.1, 1e-300, -0.0),
)


def test_the_plan_of_the_mutations_is_true(tmp_path: Path) -> None:
    check(PLAN, tmp_path)


def _rounded(values: pa.Array) -> pa.Array:
    found = texts(values)
    return found if not pa.types.is_floating(values.type) else pc.utf8_slice_codeunits(found, 0, 5)


def _shifted(space: Any, arrays: Any) -> Any:
    return gather(space, {path: np.roll(array, 1, axis=0) for path, array in arrays.items()})


def _text_is_text(value: Any) -> str:
    return value if isinstance(value, str) else info_json(value)


def _typeless(*args: Any) -> list[InfoValues]:
    return [found._replace(values=[as_json(value) for value in found.values]) for found in get_info_values(*args)]


@pytest.mark.parametrize(
    ("module", "name", "mutated"),
    [
        pytest.param(flat, "joined", lambda parts, separator: separator.join(filter(None, parts)), id="names collide"),
        pytest.param(cells, "texts", _rounded, id="floats are rounded in CSV"),
        pytest.param(dataset, "gather", _shifted, id="observations are a row late"),
        pytest.param(flat_infos, "info_json", _text_is_text, id="a text is taken for what it spells"),
        pytest.param(dataset, "get_info_values", _typeless, id="types of infos are lost"),
        pytest.param(parquet_infos, "_kind", lambda plain: "packed", id="numpy scalars become JSON"),
    ],
)
def test_mutation(module: Any, name: str, mutated: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, name, mutated)
    with pytest.raises((AssertionError, EpisodeFileError)):
        check(PLAN, tmp_path)
