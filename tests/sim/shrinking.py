"""Makes a plan that fails smaller, as long as it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.sim.judging import judge
from tests.sim.plans import Plan


def _with(plan: Plan, name: str, value: Any) -> Plan:
    changes: dict[str, Any] = {name: value}
    return replace(plan, **changes)


def simpler(plan: Plan) -> Iterator[Plan]:
    """Plans with a little less in them, the boldest cuts first."""
    empty = Plan()
    for name in ("forward", "backward", "pauses", "partitions", "cuts", "starts", "away", "notify_after"):
        if getattr(plan, name) != getattr(empty, name):
            yield _with(plan, name, getattr(empty, name))
    for name in ("pauses", "partitions", "cuts", "kills"):
        entries = getattr(plan, name)
        for index in range(len(entries) if len(entries) > 1 else 0):
            yield _with(plan, name, entries[:index] + entries[index + 1 :])
    for name in ("forward", "backward"):
        for key in getattr(plan, name):
            yield _with(plan, name, {k: v for k, v in getattr(plan, name).items() if k != key})
    for name in ("episodes", "save_every", "delay", "hold", "ends_from", "checksum_interval", "window", "seed"):
        if getattr(plan, name) != getattr(empty, name):
            yield _with(plan, name, getattr(empty, name))
    if plan.players > 2 and not plan.kills:
        kept = plan.players - 1
        yield replace(
            plan,
            players=kept,
            starts=plan.starts[:kept],
            pauses=tuple(p for p in plan.pauses if p[0] < kept),
            partitions=tuple(p for p in plan.partitions if p[2] is None or p[2] < kept),
        )
    for frames in (plan.frames // 2, plan.frames - 10, plan.frames - 1):
        if frames >= 1:
            yield replace(plan, frames=frames)


def shrink(plan: Plan, fails: Callable[[Plan], bool], most: int = 300) -> Plan:
    """A smaller plan that still fails, found greedily with at most ``most`` tries."""
    tries = 0
    found = True
    while found:
        found = False
        for candidate in simpler(plan):
            tries += 1
            if tries > most:
                return plan
            try:
                failing = fails(candidate)
            except ValueError:
                continue  # settings that do not go together
            if failing:
                plan, found = candidate, True
                break
    return plan


def kind(problems: Sequence[str]) -> str:
    """The first problem's first word: an invariant's number, or what else it begins with."""
    return problems[0].split()[0] if problems else ""


def shrink_failure(plan: Plan) -> tuple[Plan, list[str]]:
    """The smallest plan found that fails in the same way, and its problems."""
    wanted = kind(judge(plan)[0])
    small = shrink(plan, lambda candidate: kind(judge(candidate)[0]) == wanted)
    return small, judge(small)[0]
