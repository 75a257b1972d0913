"""compare: any two forms of the same episode, and folders of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from rollgym.cli import app
from rollgym.dataset.compare import Comparison, FolderComparison, compare_files, compare_paths
from rollgym.dataset.compare.cells import Cells, differing
from rollgym.dataset.csv_cells import texts
from rollgym.protocol.files.parquet import EpisodeFileError, write_episode
from tests.rollgym.stored import MATCH, OTHER, altered, changed, play, write_export

FORMS = ("episode", "flat", "csv")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Folders of both peers' files of two episodes, in every form: as they are, and with a reward changed."""
    root = tmp_path_factory.mktemp("forms")
    played = play(episodes=2, frames=60)
    found = {}
    for state, add in (("same", 0.0), ("changed", 0.25)):
        folder = root / state / "episode"
        folder.mkdir(parents=True)
        for group in played:
            for export in group:
                write_export(folder, altered(export, "rewards", (33, 1), add))
        found["episode", state] = folder
        for form, name in (("flat", "parquet"), ("csv", "csv")):
            out = root / state / form
            assert run("export", folder, "--format", name, "--out", out, "--verdict", "unjudged").exit_code == 0
            found[form, state] = out
    return found


def file_of(folder: Path, player: int, episode: int = 0) -> Path:
    of_a_player = [path for path in folder.rglob(f"*{episode}.player_{player}.*") if path.suffix != ".json"]
    (found,) = of_a_player or folder.rglob(f"*{episode}.parquet")  # what both agree on is one flat file
    return found


@pytest.mark.parametrize("one", FORMS)
@pytest.mark.parametrize("two", FORMS)
def test_forms_of_the_same_frames_are_identical(forms: dict[tuple[str, str], Path], one: str, two: str) -> None:
    for players in ((0, 0), (0, 1)):
        found = compare_files(file_of(forms[one, "same"], players[0]), file_of(forms[two, "same"], players[1]))
        assert found.identical, found
        assert (found.forms, found.frames) == ((one, two), (60, 60))
    folders = compare_paths(forms[one, "same"], forms[two, "same"])
    assert isinstance(folders, FolderComparison)
    assert (folders.identical, len(folders.pairs)) == (True, 2 if one == two == "flat" else 4)


@pytest.mark.parametrize("one", FORMS)
@pytest.mark.parametrize("two", FORMS)
def test_one_changed_value_is_found_between_any_forms(forms: dict[tuple[str, str], Path], one: str, two: str) -> None:
    found = compare_files(file_of(forms[one, "same"], 0), file_of(forms[two, "changed"], 0))
    assert not found.identical
    assert found.difference is not None
    place = (found.difference.frame, found.difference.field, found.difference.index)
    exact = one == two == "episode"
    assert place == (33, "rewards", (1,)) if exact else (33, "rewards.right", ())
    assert float(found.difference.second) == float(found.difference.first) + 0.25
    assert found.differing_rows == {"rewards" if exact else "rewards.right": 1}
    assert found.differing_fields == []


def edited(path: Path, out: Path, edit: Callable[[list[list[str]]], None]) -> Path:
    """A copy of a CSV file whose cells hold no commas, edited as rows of cells."""
    table = [line.split(",") for line in path.read_text().splitlines()]
    edit(table)
    out.write_text("\n".join(",".join(cells) for cells in table) + "\n")
    return out


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A small CSV file as somebody else would write it."""
    path = tmp_path / "plain.csv"
    lines = ["t,actions.0,rewards.0,infos.0.note,wasSpeculative.0"]
    lines += [f"{t},{t % 3},{t / 2},{'hit' if t == 3 else ''},false" for t in range(6)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_csv_files_are_compared_cell_by_cell(plain: Path, tmp_path: Path) -> None:
    assert compare_files(plain, plain).identical

    def other_view(table: list[list[str]]) -> None:
        for row in table[1:]:
            row[4] = "true"

    assert compare_files(plain, edited(plain, tmp_path / "o.csv", other_view)).identical

    def number_of_another_type(table: list[list[str]]) -> None:
        table[5][1] += ".0"

    found = compare_files(plain, edited(plain, tmp_path / "o.csv", number_of_another_type))
    assert str(found.difference) == "frame 4, actions.0: 1 against 1.0"

    def info_moved(table: list[list[str]]) -> None:
        table[4][3], table[1][3] = "", "hit"

    found = compare_files(plain, edited(plain, tmp_path / "o.csv", info_moved))
    assert str(found.difference) == "frame 0, infos.0.note: (nothing) against hit"
    assert found.differing_rows == {"infos.0.note": 2}


def test_rows_are_aligned_by_frame(plain: Path, tmp_path: Path) -> None:
    def missing_frame(table: list[list[str]]) -> None:
        del table[3]

    found = compare_files(plain, edited(plain, tmp_path / "o.csv", missing_frame))
    assert str(found.difference) == "frame 2, frame: 2 against (no row)"
    assert (found.frames, found.differing_rows) == ((6, 5), {})

    def longer(table: list[list[str]]) -> None:
        table.append(["6", "0", "3.0", "", "false"])

    found = compare_files(plain, edited(plain, tmp_path / "o.csv", longer))
    assert str(found.difference) == "frame 6, frame: (no row) against 6"


def test_a_missing_column_differs_unless_it_was_empty(plain: Path, tmp_path: Path) -> None:
    def without(index: int) -> Callable[[list[list[str]]], None]:
        def edit(table: list[list[str]]) -> None:
            for row in table:
                del row[index]

        return edit

    found = compare_files(plain, edited(plain, tmp_path / "o.csv", without(2)))
    assert (found.identical, found.differing_fields) == (False, ["rewards.0"])

    def with_empty(table: list[list[str]]) -> None:
        for row in table:
            row.append("infos.0.never" if row is table[0] else "")

    assert compare_files(plain, edited(plain, tmp_path / "o.csv", with_empty)).identical


def test_several_episodes_in_one_csv(plain: Path, tmp_path: Path) -> None:
    head, *rows = plain.read_text().splitlines()

    def both(change: int | None) -> Path:
        lines = [f"episode_num,{head}"]
        for episode in (0, 1):
            lines += [f"{episode},{row}" for row in rows]
        if change is not None:
            lines[change] = lines[change].replace(",2.0,", ",2.5,")
        path = tmp_path / f"both{change}.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    assert compare_files(both(None), both(None)).identical
    found = compare_files(both(None), both(11))
    assert str(found.difference) == "episode 1, frame 4, rewards.0: 2.0 against 2.5"
    assert found.frames == (12, 12)


def test_only_some_columns(forms: dict[tuple[str, str], Path]) -> None:
    one, two = file_of(forms["episode", "same"], 0), file_of(forms["csv", "changed"], 0)
    assert compare_files(one, two, only=["actions", "rewards.left"]).identical
    assert not compare_files(one, two, only=["rewards"]).identical
    done = run("compare", one, two, "--only", "observations")
    assert (done.exit_code, done.stdout) == (0, "identical: 60 frames, 20 columns\n")


def test_the_final_observation_counts(forms: dict[tuple[str, str], Path], tmp_path: Path) -> None:
    source = file_of(forms["csv", "same"], 0)
    copy = tmp_path / "copy.csv"
    copy.write_bytes(source.read_bytes())
    about = json.loads(source.with_suffix(".json").read_text())
    about["final"]["observations.left.paddle.0"] += 1
    copy.with_suffix(".json").write_text(json.dumps(about))
    for other in (source, file_of(forms["episode", "same"], 1)):
        found = compare_files(other, copy)
        assert found.difference is not None
        assert (found.difference.frame, found.difference.field) == (60, "observations.left.paddle.0")
    copy.with_suffix(".json").unlink()  # a file alone says nothing of it
    assert compare_files(source, copy).identical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no header"),
        ("t,x\n", "holds no frame"),
        ("a,b\n1,2\n", "no column t"),
        ("t,x\n0,1\n0,2\n", "two rows of frame 0"),
        ("t,x\n0,1\n,2\n", "a value is missing"),
        ("t,x\n0,1\n1\n", "CSV parse error"),
        ("t,x,x\n0,1,1\n", "two columns of one name"),
        ("t,x\none,1\n", "expected whole numbers"),
        ("t,x\n-1,1\n", "expected frames from 0"),
    ],
)
def test_csv_files_that_cannot_be_used_are_errors(plain: Path, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    for pair in ((plain, tmp_path / "bad.csv"), (tmp_path / "bad.csv", plain)):
        with pytest.raises(EpisodeFileError, match=reason):
            compare_files(*pair)
        done = run("compare", *pair)
        assert done.exit_code == 2
        assert "bad.csv" in done.stderr


def test_bytes_that_are_no_text_are_an_error(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"t,x\n0,\xff\xfe\n")
    with pytest.raises(EpisodeFileError, match=r"bad\.csv"):
        compare_files(plain, tmp_path / "bad.csv")


# --- folders ----------------------------------------------------------------------------------------------------


def test_a_data_folder_and_its_exports(data: Path, tmp_path: Path) -> None:
    for form in ("csv", "parquet"):
        assert run("export", data, "--format", form, "--out", tmp_path / form, "--verdict", "all").exit_code == 0
        for pair in ((data, tmp_path / form), (tmp_path / form, data)):
            found = compare_paths(*pair)
            assert isinstance(found, FolderComparison)
            assert found.identical, found
            assert len(found.pairs) == (10 if form == "csv" else 6)
    done = run("compare", data, tmp_path / "csv")
    assert (done.exit_code, done.stdout.startswith("identical: 10 pairs of files")) == (0, True)


def test_one_match_of_a_folder_and_a_single_file(data: Path, tmp_path: Path) -> None:
    run("export", data, "--format", "csv", "--out", tmp_path, "--verdict", "all")
    found = compare_paths(data / "episodes" / OTHER, tmp_path / "pong" / OTHER)
    assert isinstance(found, FolderComparison)
    assert (found.identical, len(found.pairs)) == (True, 2)
    single = compare_paths(
        data / "episodes" / MATCH / "episode_000001", tmp_path / "pong" / MATCH / "episode_000001.player_1.csv"
    )
    assert isinstance(single, Comparison)
    assert single.identical
    with pytest.raises(EpisodeFileError, match="0 files in it belong to"):
        compare_paths(data / "episodes" / OTHER, tmp_path / "pong" / MATCH / "episode_000001.player_1.csv")


def test_two_keep_folders_of_one_player_each(tmp_path: Path) -> None:
    for group in play(episodes=2, frames=30):
        for export, name in zip(group, ("a", "b"), strict=True):
            (tmp_path / name).mkdir(exist_ok=True)
            write_export(tmp_path / name, export)
    found = compare_paths(tmp_path / "a", tmp_path / "b")
    assert isinstance(found, FolderComparison)
    assert (found.identical, len(found.pairs)) == (True, 2)


def test_what_has_no_counterpart_is_a_difference(forms: dict[tuple[str, str], Path], tmp_path: Path) -> None:
    for path in forms["episode", "same"].iterdir():
        if path.name != "episode_001.player_1.parquet":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    done = run("compare", forms["episode", "same"], tmp_path, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert [Path(path).name for path in found["only_first"]] == ["episode_001.player_1.parquet"]
    assert (found["only_second"], len(found["pairs"]), found["identical"]) == ([], 3, False)
    assert all(pair["identical"] for pair in found["pairs"])
    done = run("compare", forms["episode", "same"], forms["episode", "changed"])
    assert done.exit_code == 1
    assert "first difference: frame 33, rewards[1]" in done.stdout
    assert "different: 4 of 4 pairs, 0 files without a counterpart" in done.stdout


def test_folders_with_nothing_in_common_are_an_error(forms: dict[tuple[str, str], Path], tmp_path: Path) -> None:
    with pytest.raises(EpisodeFileError, match="no episodes in it"):
        compare_paths(forms["episode", "same"], tmp_path)
    first = play(frames=20)[0]
    write_export(tmp_path, changed(first[0], episode=7))
    with pytest.raises(
        EpisodeFileError, match=r"belongs to one of .*: 1 match with episode 0, 1 there, .* episode 7 here"
    ):
        compare_paths(forms["episode", "same"], tmp_path)
    folders = [tmp_path / "episode_000000", tmp_path / "episode_000001"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        export = changed(first[0], episode=number)
        write_episode(folder / "canonical.parquet", export.header, export.canonical, None, {})
    with pytest.raises(EpisodeFileError, match=r"different episodes .*; name the two files"):
        compare_paths(folders[0], folders[1])


# --- values -----------------------------------------------------------------------------------------------------


def text(*cells: str | None) -> Cells:
    return Cells(pa.array(cells, pa.string()), "text")


def known(*values: Any, of: pa.DataType | None = None) -> Cells:
    return Cells(pa.array(values, of))


def as_json(*cells: str | None) -> Cells:
    return text(*cells)._replace(form="json")


def numbers(*values: Any) -> Cells:
    return known(*values)._replace(form="numbers")


@given(st.lists(st.none() | st.floats(), max_size=6), st.data())
def test_a_column_equals_its_own_text(values: list[float | None], data: st.DataObject) -> None:
    column = known(*values, of=pa.float64())
    assert not differing(column, Cells(texts(column.values), "text")).any()
    assert not differing(Cells(texts(column.values), "text"), column).any()
    if values:
        at = data.draw(st.integers(0, len(values) - 1))
        other = data.draw(st.none() | st.floats())
        changed = pa.array([*values[:at], other, *values[at + 1 :]], pa.float64())
        same = repr(values[at]) == repr(other)
        found = differing(column, Cells(texts(changed), "text")).tolist()
        assert found == [i == at and not same for i in range(len(values))]


whole_or_not = st.integers(-(2**63), 2**63 - 1) | st.floats()


@given(st.lists(st.tuples(whole_or_not, whole_or_not), min_size=1, max_size=6))
def test_numbers_of_other_programs_are_compared_exactly(pairs: list[tuple[Any, Any]]) -> None:
    for one, two in pairs:
        same = one == two or (one != one and two != two)
        signs = [str(value).startswith("-") for value in (one, two)]
        if not one:  # zero: the sign is all there is
            same = same and (signs[0] == signs[1])
        assert differing(known(one), numbers(two)).tolist() == [not same]
        assert differing(numbers(two), known(one)).tolist() == [not same]


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        # Types decide where they are known.
        (known("1"), text("1.0"), False),
        (known("true"), text("TRUE"), False),
        (known("nan"), text("NaN"), False),
        (known("1"), text("1"), True),
        (known(""), text(None), False),
        (known(1), known(1.0), False),
        (known(True), known(1), False),
        (known(1, of=pa.int32()), known(1), False),
        (known(np.nan), known(np.nan), True),
        (known(-0.0), known(0.0), False),
        # Other programs spell and type the same value otherwise.
        (known(1), text("1.0"), True),
        (known(1.0), text("1"), True),
        (known(1), text("1.5"), False),
        (known(1000), text("1e3"), True),
        (known(1), text("true"), False),
        (known(True), text("True"), True),
        (known(False), text("FALSE"), True),
        (known(True), text("1"), False),
        (known(2**53 + 1), text("9007199254740992.0"), False),
        (known(2**63, of=pa.uint64()), text("9223372036854775808"), True),
        (known(0, of=pa.uint8()), text("256"), False),
        (known(0.1, of=pa.float32()), text("0.10000000149011612"), True),
        (known(0.1, of=pa.float32()), text("0.1"), True),
        (known(np.float16(0.1), of=pa.float16()), text("0.1"), True),
        (known(-0.0), text("0.0"), False),
        (known(0), text("-0.0"), False),
        (known(np.nan), text("nan"), True),
        (known(np.inf), text("Infinity"), True),
        (known(None, of=pa.float64()), text(None), True),
        (known(None, of=pa.float64()), text("NaN"), False),
        (known(1), numbers(1.0), True),
        (known(0), numbers(-0.0), False),
        (known(True), numbers(1), False),
        # Of two texts every character counts.
        (text("hit"), text("hat"), False),
        (text("1"), text("1.0"), False),
        (text("true"), text("True"), False),
        (text("nan"), text("NaN"), False),
        # JSON has types of its own.
        (as_json("[1, 2]"), as_json("[1,2]"), True),
        (as_json("[1, 2]"), as_json("[1.0,2]"), False),
        (as_json("[-0.0]"), as_json("[0.0]"), False),
        (as_json("[true]"), as_json("[1]"), False),
        (as_json('{"a": NaN, "b": 1}'), as_json('{"b":1,"a":NaN}'), True),
        (as_json('"1"'), as_json("1"), False),
        (as_json("null"), as_json(None), False),
        (as_json("1"), known(1), True),
        (as_json("1"), known(1.0), False),
        (as_json('"a"'), known("a"), True),
        (as_json("a"), known("a"), False),
        (as_json("1.0"), known(1.0), True),
        (as_json("1"), text("1.0"), True),
        (as_json('"a"'), text('"a"'), True),
        (as_json('"a"'), text("a"), False),
    ],
)
def test_values_of_different_forms(left: Cells, right: Cells, same: bool) -> None:
    assert differing(left, right).tolist() == [not same]
    assert differing(right, left).tolist() == [not same]
