"""``docs/network.md`` is what its generator writes, figures apart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.network_cells import REFERENCE, Cell, verdict
from benchmarks.network_tables import PAGE, main
from rollgym.client_sim.network_model import CONDITIONS

FIGURES = re.compile(r"\d+(\.\d+)?")
VERDICT = re.compile(r"\| (equal|better|(worse: [^|]*)) \|")


def form(text: str) -> str:
    """A page without its figures and verdicts."""
    return FIGURES.sub("#", VERDICT.sub("| verdict |", text))


def rows(text: str) -> list[str]:
    """The rows of the tables, without their heads."""
    return [line for line in text.splitlines() if line.startswith("|") and " / " in line]


def prose(text: str) -> str:
    """Everything else."""
    return "\n".join(line for line in text.splitlines() if line not in rows(text))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "network.md"
    assert main(["--quick", str(path)]) == 0
    return path.read_text(encoding="utf-8")


def test_the_page_is_what_the_generator_writes(tiny: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    told = re.compile(r"Drift at 60 fps.*?peers\.", re.DOTALL)  # how many frames and seeds

    assert form(told.sub("", prose(page))) == form(told.sub("", prose(tiny)))
    assert {form(row).count("|") for row in rows(page)} == {form(row).count("|") for row in rows(tiny)}


def test_the_page_has_every_named_condition_and_every_reference_row() -> None:
    page = rows(PAGE.read_text(encoding="utf-8"))
    firsts = [row.split("|")[1].strip() for row in page]

    assert firsts[: len(CONDITIONS)] == [f"`{name}`" for name in CONDITIONS]
    assert firsts[len(CONDITIONS) :] == [name for name in REFERENCE for _ in (0, 2)]


def test_the_page_is_not_on_the_quick_sizes() -> None:
    assert "3,000 confirmed frames an episode, mean of seeds 1, 2, 3" in Path(PAGE).read_text(encoding="utf-8")


def test_verdicts() -> None:
    reference = Cell(60.0, 1.0, 0.5)

    assert verdict(Cell(59.9, 1.05, 0.51), reference) == "equal"
    assert verdict(Cell(59.9, 0.5, 0.51), reference) == "better"
    assert verdict(Cell(58.0, 1.0, 0.5), reference) == "worse: fps"
    assert verdict(Cell(60.0, 0.2, 0.6), reference) == "worse: re-simulated; better: stalls"
    assert verdict(Cell(60.0, 1.0, 9.0), Cell(60.0, 1.0, None)) == "equal"
