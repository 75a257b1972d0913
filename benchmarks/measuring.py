"""How benchmarks measure, and how they print what they found.

Ratios come from one run: baseline and candidate take turns, each keeps its smallest time, so that what else the
machine does hits both or neither. Times are processor time of this process unless a figure says otherwise.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from msgspec import Struct


class Figure(Struct, frozen=True):
    """One result. ``met`` is None where there is no target."""

    name: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None
    note: str = ""
    details: dict[str, float] = {}
    """Further values, for ``--json``; the note says them in words."""


class Report(Struct, frozen=True):
    """What a benchmark found. ``notes`` say what the figures mean."""

    title: str
    figures: list[Figure]
    notes: str = ""
    """Paragraphs."""


class Machine(Struct, frozen=True):
    """Where and when it was measured."""

    processor: str
    cores: int
    system: str
    python: str
    packages: dict[str, str]
    load_before: float
    load_after: float
    """Load averages over the last minute: above 1 somebody else was at work too."""


def interleaved(calls: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Seconds of processor time of each call: the smallest of ``rounds`` turns, in which they alternate."""
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for index, call in enumerate(calls):
            gc.collect()
            began = time.process_time()
            call()
            best[index] = min(best[index], time.process_time() - began)
    return best


def at_most(value: float, limit: float) -> tuple[str, bool]:
    """A target and whether it is met."""
    return f"at most {limit:g}", value <= limit


def at_least(value: float, limit: float) -> tuple[str, bool]:
    """A target and whether it is met."""
    return f"at least {limit:g}", value >= limit


def figure(name: str, value: float, unit: str, target: tuple[str, bool] | None = None, note: str = "") -> Figure:
    """A figure, with its target if it has one."""
    wanted, met = target or ("", None)
    return Figure(name, value, unit, wanted, met, note)


def main(run: Callable[[bool], Report], arguments: Sequence[str] | None = None) -> int:
    """The command line of a benchmark: ``--quick`` for tiny sizes (figures mean nothing then), ``--json``."""
    parser = argparse.ArgumentParser(description=sys.modules[run.__module__].__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    before = os.getloadavg()[0]
    report = run(options.quick)
    machine = describe_machine(before)
    if options.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode({"machine": machine, "report": report})))
        sys.stdout.write("\n")
    else:
        print(as_text(report, machine))
    return 0


def describe_machine(load_before: float) -> Machine:
    """This machine, as far as figures depend on it."""
    packages = {}
    for name in ("aiohttp", "cogrid", "gymnasium", "msgspec", "numpy", "pyarrow", "uvloop"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:  # an optional extra
            continue
    return Machine(
        _processor(),
        os.cpu_count() or 1,
        f"{platform.system()} {platform.machine()}",
        f"{platform.python_implementation()} {platform.python_version()}",
        packages,
        round(load_before, 2),
        round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def as_text(report: Report, machine: Machine) -> str:
    """A report for people."""
    width = max([len(item.name) for item in report.figures], default=0)
    units = max([len(item.unit) for item in report.figures], default=0)
    lines = [report.title, ""]
    for item in report.figures:
        verdict = {None: "", True: f"  {item.target}: met", False: f"  {item.target}: MISSED"}[item.met]
        note = f"  ({item.note})" if item.note else ""
        lines.append(f"  {item.name:<{width}}  {number(item.value):>9} {item.unit:<{units}}{verdict}{note}".rstrip())
    packages = ", ".join(f"{name} {text}" for name, text in machine.packages.items())
    where = f"{machine.processor}, {machine.cores} cores, {machine.system}; {machine.python}; {packages}"
    load = f"load {machine.load_before} before, {machine.load_after} after"
    for paragraph in (*report.notes.strip().split("\n\n"), f"{where}; {load}"):
        lines += ["", *textwrap.wrap(paragraph, 116, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that matter, thousands apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
