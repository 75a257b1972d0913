"""What a user should know besides the verdict: what is not recorded as it was given, and what playing needs."""

from __future__ import annotations

from collections.abc import Sequence

from rollgym.checking.causes import at
from rollgym.checking.evidence import Evidence
from rollgym.checking.report import Finding
from rollgym.checking.surroundings import looks
from rollgym.checking.timing import Stopwatch
from rollgym.checking.trace import Trace
from rollgym.games.contract import Game
from rollgym.games.description import Description
from rollgym.protocol.messages import PlaySettings
from rollgym.server.feasible import Problem, find_problems
from rollgym.server.settings import Limits

SLOW = 2.0
"""Seconds from which on a call is worth a word."""

MANY_OBJECTS = 1000


def found(
    game: Game, evidence: Evidence, traces: Sequence[Trace], watch: Stopwatch, draws: Sequence[str], fps: float
) -> list[Finding]:
    """All of it, for a game of which ``traces`` were recorded and that is to be played at ``fps``."""
    return [
        *_saved(evidence, draws),
        *_recorded(evidence),
        *_played(game, traces, fps),
        *slow(watch),
    ]


def shallow(happened: Sequence[int], missing: Sequence[int], traces: Sequence[Trace]) -> Finding:
    """Some of the rollbacks could not happen."""
    longest = max(len(trace.inputs) for trace in traces)
    deepest = f"no rollback deeper than {happened[-1]} happened" if happened else "no rollback happened"
    text = f"{deepest}: the longest episode has {longest} frame{'s' * (longest != 1)}"
    return Finding("shallow", "note", text, "more --frames, or a --policy that plays longer, if episodes can be longer")


def printed(lines: Sequence[str]) -> list[Finding]:
    """It prints."""
    if not lines:
        return []
    text = f"it prints ({lines[0][:80]!r}{', and more' if len(lines) > 1 else ''}): that goes to the log of a player"
    return [Finding("prints", "note", text)]


def _saved(evidence: Evidence, draws: Sequence[str]) -> list[Finding]:
    findings = []
    if evidence.method == "replay":
        text = "a load plays the episode again from its reset: its cost grows with every frame"
        findings.append(Finding("replay", "note", text))
    if draws:
        text = f"draws from the global {' and '.join(draws)}"
        findings.append(Finding("draws", "note", text, "self.np_random"))
    if looks("asyncio"):
        text = f"it runs a loop of asyncio{at('asyncio')}: it may, as games run in a main thread that has none"
        findings.append(Finding("asyncio", "note", text))
    if evidence.objects >= MANY_OBJECTS:
        parts = ", ".join(f"{path or 'the environment'} ({count})" for path, count in evidence.largest())
        text = f"its state has {evidence.objects} objects, each saved in every frame; most are in {parts}"
        first = next((path for path, _ in evidence.largest() if path), "env.planner")
        following = f"adapter={{constant: [{first}]}} leaves out what never changes, and tells if it does"
        findings.append(Finding("large_state", "note", text, following))
    return findings


def _recorded(evidence: Evidence) -> list[Finding]:
    findings = []
    dropped, rounded = evidence.noticed("unrecorded"), evidence.noticed("rounded")
    if dropped:
        text = f"infos that are not recorded: {', '.join(dropped)}"
        findings.append(Finding("infos_dropped", "note", text, "give plain data under texts as keys"))
    if rounded:
        text = f"rounded from float64 to the float32 of its space, and recorded so: {', '.join(rounded)}"
        findings.append(Finding("rounded", "note", text, "a space of float64 keeps every digit"))
    return findings


def _played(game: Game, traces: Sequence[Trace], fps: float) -> list[Finding]:
    """What ``run`` and ``serve`` would refuse before the first frame, with the default settings and limits."""
    frames = sum(len(trace.inputs) for trace in traces)
    ended = any(trace.ended for trace in traces)
    # Of a game that ends and does not say when, nobody knows how many infos an episode has at most.
    counted = not ended or game.spec.max_frames is not None
    infos = sum(trace.infos for trace in traces) / max(1, frames) if counted else 0.0
    play = PlaySettings(fps=fps)
    found = find_problems(Description.of(game.spec), play, Limits(), infos_per_frame=infos)
    findings = [_refused(problem) for problem in found]
    if not found and frames and game.spec.max_frames is None and not ended:
        longest = max(len(trace.inputs) for trace in traces)
        text = f"no episode ended within {longest} frames, and the game declares no end"
        following = f"set play.frame_limit: without it an episode is truncated after {Limits().episode_frames} frames"
        findings.append(Finding("no_end", "needs", text, following))
    return findings


def _refused(problem: Problem) -> Finding:
    # No setting makes a packet wider.
    severity = "fails" if problem.field == "experiment.game" else "needs"
    return Finding("refused_by_run", severity, f"refused before it is played: {problem}", path=problem.field)


def slow(watch: Stopwatch) -> list[Finding]:
    findings = []
    limit = PlaySettings().start_timeout
    for name, seconds in watch.first.items():
        longest = max(seconds, watch.later.get(name, 0.0))
        if longest < SLOW:
            continue
        first = seconds >= longest
        what = {"constructor": "its constructor", "reset": "a reset", "step": "a step"}[name]
        text = f"{what} took {longest:.1f} s{' when called first' if first and name in watch.later else ''}"
        needs = longest > limit / 2
        following = f"play.start_timeout (default {limit:g} s) has to be longer" if needs else "players wait meanwhile"
        findings.append(Finding(f"slow_{name}", "needs" if needs else "note", text, following))
    return findings
