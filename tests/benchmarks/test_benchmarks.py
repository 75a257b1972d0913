"""Every benchmark runs, with tiny sizes, and says what it should. No figure is asserted: they belong to machines."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

import benchmarks
from benchmarks.measuring import Figure, Machine, Report, as_text, at_least, at_most, figure, interleaved, main, number

FOLDER = Path(benchmarks.__path__[0])
NAMES = sorted(path.stem for path in FOLDER.glob("bench_*.py"))

# Of each benchmark the figures that documents refer to, by the beginning of their names.
EXPECTED = {
    "bench_compiled": ["wire peer, without misprediction, compiled against pure", "synctest, distance 8, compiled"],
    "bench_games": ["drift, rollback of 8", "pong, largest window"],
    "bench_ingest": ["Parquet files bare", "server", "server against bare"],
    "bench_network": ["30 ms clean, delay 0, window 7", "30 ms clean, delay 2, window 8"],
    "bench_peer": ["synctest, distance 0", "peer, without misprediction", "peer, inputs change", "frame 20,000"],
    "bench_reading": ["load against read_table", "scan of rewards", "episodes(), ", "scan() itself"],
    "bench_record": ["recording", "drift, ", "pong, ", "overcooked, ", "compare"],
    "bench_relay": ["bare aiohttp echo", "relay", "relay against echo", "step against task"],
    "bench_simulate": ["pong, input delay 2", "pong, input delay 0", "overcooked, bare", "overcooked, input delay 0"],
    "bench_synctest": [
        "step + save + digest",
        *(f"synctest, distance {distance}" for distance in (0, 1, 4, 8)),
        "overhead per re-simulated frame, distance 8",
        *(f"frame 100,000 against frame 1,000, session, inputs {when}" for when in ("early", "on time", "late")),
    ],
}


def test_the_benchmarks_that_documents_refer_to_are_there() -> None:
    assert set(EXPECTED) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_benchmark_runs_and_reports(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"benchmarks.{name}")

    assert main(module.run, ["--quick", "--json"]) == 0

    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    report, machine = printed["report"], printed["machine"]
    found = [item["name"] for item in report["figures"]]
    assert found
    for wanted in EXPECTED.get(name, []):
        assert any(one.startswith(wanted) for one in found), f"{wanted!r} is not among {found}"
    for item in report["figures"]:
        assert math.isfinite(item["value"]), item
        assert (item["met"] is None) == (item["target"] == ""), item
    assert report["title"]
    assert report["notes"].strip()
    assert machine["cores"] >= 1
    assert machine["python"].split()[1][0] == "3"
    assert machine["load_before"] >= 0


def test_a_report_in_text_says_what_was_met_and_where_it_was_measured() -> None:
    figures = [
        figure("rate", 12_345.6, "frames/s", at_least(12_345.6, 100)),
        figure("overhead", 3.456, "x", at_most(3.456, 1.0), "a note"),
        figure("plain", 0.5, "s"),
    ]
    machine = Machine("a processor", 2, "Linux", "CPython 3.11", {"numpy": "2.4"}, 0.5, 1.5)

    text = as_text(Report("Title", figures, "\nOne paragraph\nof notes.\n\nAnother.\n"), machine)

    lines = text.splitlines()
    assert lines[0] == "Title"
    assert "12,346 frames/s  at least 100: met" in lines[2]
    assert "3.46 x         at most 1: MISSED  (a note)" in lines[3]
    assert lines[4].split() == ["plain", "0.50", "s"]
    assert "  One paragraph of notes." in lines
    assert "  Another." in lines
    assert "a processor, 2 cores, Linux; CPython 3.11; numpy 2.4; load 0.5 before, 1.5 after" in text


def test_numbers_have_the_digits_that_matter() -> None:
    assert [number(value) for value in (0.123, 9.876, 98.76, 987.6, 9876.5)] == ["0.12", "9.88", "98.8", "988", "9,876"]


def test_calls_take_turns_and_each_keeps_its_smallest_time() -> None:
    order: list[str] = []

    times = interleaved([lambda: order.append("a"), lambda: order.append("b")], 3)

    assert order == ["a", "b"] * 3
    assert len(times) == 2
    assert all(seconds >= 0 for seconds in times)


def test_figures_survive_json() -> None:
    assert Figure("name", 1.0, "x").met is None
    with pytest.raises(SystemExit):
        main(lambda quick: Report("", [], ""), ["--unknown"])
