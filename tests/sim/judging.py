"""Plays a plan and says what is wrong with the outcome, in words.

An empty list is a proof for this one plan of the architecture's invariants 9 to 12. A complaint begins with the
invariant's number, or with ``record:`` or ``raised``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rollgym.client_sim.network_model import Channel
from rollgym.client_sim.simulator.result import SimulationResult, SimulationStuck
from rollgym.client_sim.simulator.scenario import Kill, Partition, Pause, Scenario
from rollgym.client_sim.simulator.simulator import Simulator
from rollgym.games.contract import Game
from rollgym.games.frame_limit import limited
from rollgym.games.policy import Policy
from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.export import Export, RollbackEvent
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.messages import PlaySettings
from tests.rollback.toy import Toy, ToyPolicy
from tests.sim.plans import FPS, Plan


@dataclass
class Played:
    """A plan's outcome, and the players' own logs of what they decided."""

    result: SimulationResult
    policies: list[ToyPolicy]

    @property
    def rollbacks(self) -> int:
        return sum(len(export.own.rollbacks) for player in self.result.players for export in player.exports)

    @property
    def frames(self) -> int:
        """Confirmed frames, counted once per episode."""
        return sum(export.header.frames for export in self.result.players[0].exports)


def scenario(plan: Plan, policies: list[ToyPolicy]) -> Scenario:
    """The plan for the simulator; the policies that it makes are put into ``policies``."""
    built = 0

    def game() -> Game:
        nonlocal built
        built += 1
        # The last peer to start carries the defect, if there is to be one.
        secret = 0x5EC2E7 if plan.breaks_at is not None and built == plan.players else 0
        return Toy(plan.players, ends_from=plan.ends_from, breaks_at=plan.breaks_at, secret=secret)

    def policy(game: Game, player: int) -> Policy:
        made = ToyPolicy(player, plan.seed, plan.hold)
        policies.append(made)
        policies.sort(key=lambda one: one.player)
        return made

    return Scenario(
        settings=PlaySettings(
            episodes=plan.episodes,
            fps=FPS,
            frame_limit=plan.frames,
            input_delay=plan.delay,
            max_prediction=plan.window,
            save_every=plan.save_every,
            checksum_interval=plan.checksum_interval,
            disconnect_timeout=plan.timeout,
            start_timeout=plan.timeout,
            on_desync="stop" if plan.on_desync == "stop" else "continue",
            on_disconnect="end" if plan.on_disconnect == "end" else "continue",
            away="stall" if plan.away == "stall" else "play_on",
        ),
        game=game,
        policies=(policy,) * plan.players,
        seed=plan.seed,
        link=plan.link,
        pauses=[Pause(*pause) for pause in plan.pauses],
        partitions=[Partition(*partition) for partition in plan.partitions],
        kills=[Kill(*kill) for kill in plan.kills],
        notify_after=plan.notify_after,
        starts=plan.starts,
        time_limit=plan.time_limit,
    )


class _Cut(Channel):
    """A channel that loses everything for a while, and otherwise is the same as without the cut."""

    __slots__ = ("end", "start")

    def __init__(self, channel: Channel, start: float, duration: float) -> None:
        super().__init__(channel.conditions, random.Random())
        self._random = channel._random
        self.start = start
        self.end = start + duration

    def deliveries(self, now: float, size: int) -> list[float]:
        arrivals = super().deliveries(now, size)
        return [] if self.start <= now < self.end else arrivals


def simulator(plan: Plan, policies: list[ToyPolicy]) -> Simulator:
    """The plan, ready to run."""
    made = Simulator(scenario(plan, policies))
    for at, duration, source, destination in plan.cuts:
        made._channels[source, destination] = _Cut(made._channels[source, destination], at, duration)
    return made


def play(plan: Plan) -> Played:
    """Play a plan. Raises :class:`SimulationStuck` if it does not come to an end."""
    policies: list[ToyPolicy] = []
    return Played(simulator(plan, policies).run(), policies)


def judge(plan: Plan, *, twice: bool = False) -> tuple[list[str], Played | None]:
    """What is wrong with a plan's outcome, and the outcome. ``twice``: play it again and compare the traces."""
    policies: list[ToyPolicy] = []
    ready = simulator(plan, policies)  # a plan that makes no sense is nobody's defect: this may raise
    try:
        played = Played(ready.run(), policies)
    except SimulationStuck as stuck:
        return [f"11 liveness: {stuck}"], None
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this plan and is reported with it
        return [f"raised {type(error).__name__}: {error}"], None
    problems = judge_played(plan, played)
    if twice:
        again = play(plan).result
        if (again.trace, again.seconds, again.events) != (
            played.result.trace,
            played.result.seconds,
            played.result.events,
        ):
            problems.append("12 same scenario, another trace")
    return problems, played


def judge_played(plan: Plan, played: Played) -> list[str]:
    """What is wrong with an outcome."""
    problems = [*_whole(plan, played), *_agreement(plan, played), *_desyncs(plan, played)]
    for player in range(plan.players):
        for number, export in enumerate(played.result.players[player].exports):
            for problem in _episode(plan, played, player, number, export):
                word, _, text = problem.partition(" ")
                problems.append(f"{word} player {player}, episode {number}: {text}")
    return problems


def _whole(plan: Plan, played: Played) -> Iterator[str]:
    """Every peer played every episode to its end, and nobody was ever refused anything."""
    for player in plan.survivors:
        result = played.result.players[player]
        statuses = [export.header.status for export in result.exports]
        complete = statuses == ["complete"] * plan.episodes and result.ended == "finished"
        if plan.kills and not complete:
            # They had to stop somewhere; whether at the same frame, _agreement looks at.
            complete = result.ended == "left" and statuses[:-1] == ["complete"] * (len(statuses) - 1)
        if not complete:
            yield f"11 player {player}: episodes {statuses} of {plan.episodes}, ended {result.ended}"
        if result.refused:
            yield f"8 player {player} refused {result.refused} honest packets: {result.refusals}"


def _agreement(plan: Plan, played: Played) -> Iterator[str]:
    """All exports of an episode are equal, those of the dead as far as there are any."""
    leader = plan.survivors[0]
    first = _begun(played.result.players[leader].exports)
    for player, result in enumerate(played.result.players):
        mine = _begun(result.exports)
        dead = player not in plan.survivors
        if not dead and len(first) != len(mine):
            yield f"10 player {player} has {len(mine)} episodes, player {leader} {len(first)}"
        for one, other in zip(first, mine, strict=False):
            found = compare_episodes((one.header, one.canonical), (other.header, other.canonical))
            if dead and found is not None and found.frame is not None:
                # The dead may have come further than anybody can know, but not elsewhere.
                # The first idle frame of anybody who died: its inputs may have got no further than to this dead one.
                killed = [victim for victim, _ in plan.kills]
                filled = one.canonical.columns["input_source"].array()[:, killed].any(axis=1)
                agreed = int(filled.argmax()) if filled.any() else one.header.frames
                shorter = min(agreed, other.header.frames)
                found = None if found.frame >= shorter else found
            elif one.digest != other.digest and found is None:
                yield f"10 player {player}, episode {one.header.episode}: equal exports with different digests"
            if found is not None:
                yield f"10 player {player}, episode {one.header.episode}: exports differ: {found}"


def _begun(exports: list[Export]) -> list[Export]:
    """Without an episode that one peer began while another learned that a player had left: no frame of it counts."""
    return exports[:-1] if exports and exports[-1].header.frames == 0 else exports


def _desyncs(plan: Plan, played: Played) -> Iterator[str]:
    if plan.breaks_at is None:
        for player, result in enumerate(played.result.players):
            if result.desyncs:
                yield f"9 player {player}: false alarm {result.desyncs}"


def _episode(plan: Plan, played: Played, player: int, number: int, export: Export) -> Iterator[str]:
    try:
        check_export(export)
    except ExportError as error:
        yield f"export: {error}"
        return
    yield from _inputs(plan, played, number, export)
    yield from _oracle(plan, export)
    yield from _own(plan, played.policies[player], export)


def _inputs(plan: Plan, played: Played, number: int, export: Export) -> Iterator[str]:
    """What every player decided, at the frame it was meant for; the default where it was not there."""
    sources = export.canonical.columns["input_source"].array()
    for player, policy in enumerate(played.policies):
        actions = export.canonical.columns[f"actions/agent_{player}"].array()[:, 0].tolist()
        log = policy.log[number] if number < len(policy.log) else {}
        for frame, action in enumerate(actions):
            sent = log.get(frame - plan.delay) if frame >= plan.delay else 0
            if action != (0 if sources[frame, player] else sent):
                yield f"10 frame {frame}: player {player} sent {sent}, recorded {action}"
                return
    if plan.away == "stall":
        gone = [] if plan.on_disconnect == "end" else [player for player, _ in plan.kills]
        for player in range(plan.players):
            filled = sources[:, player]
            if filled.any() and (player not in gone or not filled[int(filled.argmax()) :].all()):
                yield f"10 inputs of player {player} marked as filled in, though it was there"


def _oracle(plan: Plan, export: Export) -> Iterator[str]:
    """The same inputs in lockstep, through the bare game."""
    columns = {name: column.array() for name, column in export.canonical.columns.items()}
    game = limited(Toy(plan.players, ends_from=plan.ends_from), plan.frames)
    game.reset(export.header.seed)
    frames = export.header.frames
    actions = [columns[f"actions/agent_{player}"] for player in range(plan.players)]
    for frame in range(frames + 1):
        for player, seen in enumerate(game.observe()):
            if not np.array_equal(columns[f"observations/agent_{player}"][frame], seen):
                yield f"10 frame {frame}: player {player}'s observation is not what the inputs give"
                return
        digest = int(columns["state_digest"][frame])
        if frame % plan.save_every == 0 and digest != game.digest(game.save()):
            yield f"10 frame {frame}: digest {digest:x} is not what the inputs give"
            return
        if frame == frames:
            return
        outcome = game.step(tuple(actions[player][frame].tobytes() for player in range(plan.players)))
        given = (
            tuple(columns["rewards"][frame].tolist()),
            tuple(columns["terminations"][frame].tolist()),
            tuple(columns["truncations"][frame].tolist()),
        )
        if given != outcome[:3]:
            yield f"10 frame {frame}: {given}, the inputs give {outcome[:3]}"
            return
        if outcome.terminal != (frame == frames - 1 and export.header.status == "complete"):
            yield f"10 frame {frame} of {frames}: terminal is {outcome.terminal}"
            return


def _own(plan: Plan, policy: ToyPolicy, export: Export) -> Iterator[str]:
    """A peer's own account, as far as it can be told from outside."""
    own, frames = export.own, export.header.frames
    columns = {name: column.array() for name, column in own.columns.items()}
    facts = [export.canonical.columns[f"actions/agent_{player}"].array() for player in range(plan.players)]
    again = np.zeros(frames, dtype=np.int64)
    for event in own.rollbacks:
        if not 0 < event.depth == event.at_frame - event.to_frame <= plan.deepest:
            yield f"2 rollback {event} in a window of {plan.deepest}"
        if event.predicted == event.actual or event.player == own.player:
            yield f"5 rollback {event} without a wrong prediction"
        if event.to_frame < frames:
            if facts[event.player][event.to_frame].tobytes() != event.actual:
                yield f"3 rollback {event}: the input was another one in the end"
            if not (columns["mispredicted"][event.to_frame] and columns["was_speculative"][event.to_frame]):
                yield f"record: rollback {event}, but its frame is not marked as mispredicted"
        again[event.to_frame : event.at_frame] += 1
    if not np.array_equal(columns["rollbacks"], again):
        yield "record: rollbacks per frame are not those of the events"
    if (columns["times_simulated"] < 1).any() or (columns["mispredicted"] & ~columns["was_speculative"]).any():
        yield "record: a frame that was never simulated, or mispredicted without a prediction"
    if (columns["times_simulated"] > 1 + again + _on_the_way(plan, own.rollbacks, frames)).any():
        yield "record: a frame simulated more often than rollbacks explain"
    if own.stats["rollbacks"] != len(own.rollbacks) or (own.tail is not None and export.header.status == "complete"):
        yield "record: statistics and events differ, or a complete episode has a tail"
    yield from _seen(policy.seen[export.header.episode], export, columns)


def _on_the_way(plan: Plan, rollbacks: list[RollbackEvent], frames: int) -> np.ndarray:
    """How often each frame can have been stepped at most to get from a sparse snapshot to a rollback's first frame."""
    most = np.zeros(frames, dtype=np.int64)
    for event in rollbacks:
        most[max(0, event.to_frame - plan.save_every + 1) : event.to_frame] += 1
    return most


def _seen(seen: dict[int, bytes], export: Export, columns: dict[str, Any]) -> Iterator[str]:
    """What the policy acted on, where it was not the truth."""
    player, frames = export.own.player, export.header.frames
    truth = export.canonical.columns[f"observations/agent_{player}"].array()
    wrong = {frame: value for frame, value in seen.items() if frame < frames and truth[frame].tobytes() != value}
    noted = dict(zip(columns["seen_frame"].tolist(), columns[f"seen/agent_{player}"], strict=True))
    if {frame: value.tobytes() for frame, value in noted.items()} != wrong:
        yield f"record: acted on untrue observations at {sorted(wrong)}, noted {sorted(noted)}"
