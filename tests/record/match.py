"""Whole matches in virtual time with a hand on every packet, and what must hold of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from rollgym.client_sim.network_model import CONDITIONS, Link, NetworkConditions
from rollgym.client_sim.peer.episode import Episode
from rollgym.client_sim.peer.events import EpisodeEnded
from rollgym.client_sim.simulator.result import SimulationResult
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import _PACKET, Simulator
from rollgym.games.contract import Game
from rollgym.games.frame_limit import limited
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.episode.values import unpack_value
from rollgym.protocol.messages import PlaySettings
from rollgym.protocol.packets import Input, Packet, decode
from tests.record.probe import GameLog, Probe, Restless


class Sent(NamedTuple):
    """A packet on its way, or at its arrival (``at``)."""

    now: float
    source: int
    destination: int
    packet: Packet
    at: float


Tap = Callable[[Sent], Sequence[float]]
"""When a packet really arrives: an empty sequence drops it."""


Watch = Callable[["TappedSimulator"], None]
"""Called after every event; may do to a peer what its driver can."""


class TappedSimulator(Simulator):
    """The simulator, with a say in what becomes of each packet and a log of what each peer received."""

    def __init__(self, scenario: Scenario, tap: Tap | None = None, watch: Watch | None = None) -> None:
        super().__init__(scenario)
        self._tap = tap
        self._watch = watch
        self._delivering = False
        self.received: list[Sent] = []
        self.episodes: list[list[Episode]] = [[] for _ in self.peers]

    def _push(self, time: float, kind: int, player: int, data: bytes = b"") -> None:
        if kind == _PACKET and not self._delivering and self._tap is not None:
            for arrival in self._tap(Sent(self.now, data[0], player, decode(data[1:]), time)):
                super()._push(arrival, kind, player, data)
        else:
            super()._push(time, kind, player, data)

    def _handle(self, now: float, kind: int, player: int, data: bytes) -> None:
        peer = self.peers[player]
        self._delivering = kind == _PACKET
        if self._delivering and peer is not None and not self._dead[player] and now >= self._resume[player]:
            self.received.append(Sent(now, data[0], player, decode(data[1:]), now))
        super()._handle(now, kind, player, data)
        self._delivering = False
        if peer is not None and peer.episode is not None and peer.episode not in self.episodes[player][-1:]:
            self.episodes[player].append(peer.episode)
        if self._watch is not None:
            self._watch(self)


@dataclass
class Match:
    """A played match with every log there is."""

    plan: Play
    scenario: Scenario
    result: SimulationResult
    games: list[GameLog]
    policies: list[Restless]
    received: list[Sent]
    episodes: list[list[Episode]]

    def exports(self, player: int) -> list[Export]:
        return self.result.players[player].exports

    def export(self, player: int, episode: int = 0) -> Export:
        exports = self.exports(player)
        assert len(exports) > episode, f"player {player} exported {len(exports)} episodes"
        return exports[episode]

    def ended(self, player: int, episode: int = 0) -> EpisodeEnded:
        return [e for e in self.result.players[player].events if isinstance(e, EpisodeEnded)][episode]

    def fresh_game(self, player: int) -> Game:
        """A game like the player's, which nothing was done to."""
        return limited(self.plan.game(GameLog(), player), self.plan.frames)

    def heard(self, player: int, episode: int = 0) -> int:
        """The last frame of the partner's inputs that reached a player while it was in the episode."""
        last = -1
        for sent in self.received:
            packet = sent.packet
            if sent.destination != player or sent.now <= self.episodes[player][episode].began:
                continue
            if isinstance(packet, Input) and packet.episode == episode and packet.start <= last + 1:
                last = max(last, packet.start + len(packet.inputs) - 1)
        return last

    def rollbacks(self, player: int) -> int:
        return sum(len(export.own.rollbacks) for export in self.exports(player))

    def statuses(self) -> list[list[str]]:
        return [[export.header.status for export in player.exports] for player in self.result.players]


LATENCY = Link.both(NetworkConditions(latency=0.07, jitter=0.012))
"""The usual network here: some frames late each way, packets that overtake, no two arrivals at the same time."""


def one_way(loss: float = 0.0, latency: float = 0.07, jitter: float = 0.012) -> Link:
    return Link.both(NetworkConditions(loss=loss, latency=latency, jitter=jitter))


@dataclass
class Play:
    """A match to be played. ``game`` and ``policy`` are made anew for each player."""

    frames: int | None = 180
    episodes: int = 1
    seed: int = 1
    network: Link | str = LATENCY
    delay: int = 2
    window: int = 8
    save_every: int = 1
    checksum_interval: int = 12
    timeout: float = 5.0
    away: str = "stall"
    away_limit: float = 30.0
    on_desync: str = "stop"
    game: Callable[[GameLog, int], Game] = lambda log, player: Probe(log=log)
    policy: Callable[[int], Restless] = Restless
    tap: Tap | None = None
    watch: Watch | None = None
    faults: dict[str, Any] = field(default_factory=dict)
    """More of the scenario: pauses, partitions, kills, starts, notify_after."""

    def __call__(self, **changes: Any) -> Match:
        return play(replace(self, **changes))


def play(plan: Play) -> Match:
    """Play it to its end."""
    holder: list[Simulator] = []

    def clock() -> float:
        return holder[0].now

    logs = [GameLog(clock), GameLog(clock)]
    policies = [plan.policy(player) for player in (0, 1)]
    made: list[int] = []

    def game() -> Game:
        made.append(len(made))
        return plan.game(logs[made[-1]], made[-1])

    settings = PlaySettings(
        episodes=plan.episodes,
        fps=60.0,
        frame_limit=plan.frames,
        input_delay=plan.delay,
        max_prediction=plan.window,
        save_every=plan.save_every,
        checksum_interval=plan.checksum_interval,
        disconnect_timeout=plan.timeout,
        away="play_on" if plan.away == "play_on" else "stall",
        away_limit=plan.away_limit,
        on_desync="stop" if plan.on_desync == "stop" else "continue",
    )
    scenario = Scenario(
        settings,
        game,
        [lambda _game, player: policies[player]] * 2,
        seed=plan.seed,
        link=CONDITIONS[plan.network] if isinstance(plan.network, str) else plan.network,
        **plan.faults,
    )
    simulator = TappedSimulator(scenario, plan.tap, plan.watch)
    holder.append(simulator)
    result = simulator.run()
    return Match(plan, scenario, result, logs, policies, simulator.received, simulator.episodes)


# -- what must hold of every match -----------------------------------------------------------------------------------


def assert_played(match: Match, *, frames: int, rollbacks: int = 1, complete: int | None = None) -> None:
    """Play and rollbacks really happened, all exports are sound, and both peers say the same.

    ``frames``: at least so many in every export of player 0. ``complete``: so many complete episodes at both.
    """
    for player in (0, 1):
        exports = match.exports(player)
        assert exports, f"player {player} exported nothing"
        assert match.rollbacks(player) >= rollbacks, f"player {player}: {match.rollbacks(player)} rollbacks"
        assert [export.header.episode for export in exports] == list(range(len(exports)))
        for export in exports:
            assert export.header.frames >= frames, f"player {player}: {export.header.frames} frames"
            assert_sound(match, player, export)
    if complete is not None:
        assert match.statuses() == [["complete"] * complete] * 2
        assert [p.ended for p in match.result.players] == ["finished", "finished"]
        for first, second in zip(match.exports(0), match.exports(1), strict=True):
            assert_equal(first, second)


def assert_equal(first: Export, second: Export) -> None:
    """The same facts, bit for bit."""
    assert compare_episodes((first.header, first.canonical), (second.header, second.canonical)) is None
    assert first.digest == second.digest
    assert first.header.frames == second.header.frames


def assert_sound(match: Match, player: int, export: Export) -> None:
    """One export: its schema, its actions against their senders' own logs, its facts against a re-simulation,
    and its own part against what the game and the policy logged."""
    check_export(export)
    assert_actions_are_the_senders_own(match, export)
    assert_resimulates(match, export)
    assert_own_part(match, player, export)


def actions(export: Export, player: int) -> list[bytes]:
    """A player's recorded inputs, one per frame."""
    column = export.canonical.columns[f"actions/{export.header.game.players[player]}"]
    width = column.shape[1]
    return [column.data[i : i + width] for i in range(0, len(column.data), width)]


def own(export: Export, name: str) -> list[Any]:
    """One of the peer's own columns."""
    values: list[Any] = export.own.columns[name].array().tolist()
    return values


def decided(match: Match, export: Export, player: int) -> list[tuple[bytes, int]]:
    """The inputs of a player in an episode by the frame they are for, with their source (0 real, 1 idle).

    Real ones are what the policy decided; where it was not asked, the player was away and the default stands in.
    """
    spec = match.fresh_game(player).spec
    delay, idle = match.plan.delay, spec.default_inputs[player]
    encode = spec.input_codecs[player].encode
    width = match.policies[player].width
    log = match.policies[player].of(export.header.seed)
    frames = [acted.frame for acted in log]
    assert frames == sorted(set(frames)), "asked at most once per frame, in order"
    if match.plan.away == "stall":
        assert frames == list(range(len(log))), "asked at every frame"
    values = {a.frame: encode(a.action if width == 1 else np.full(width, a.action, np.int64)) for a in log}
    newest = export.header.frames - delay
    later = [(values[f], 0) if f in values else (idle, 1) for f in range(newest)]
    return [(idle, 0)] * min(delay, export.header.frames) + later


def assert_actions_are_the_senders_own(match: Match, export: Export) -> None:
    sources = export.canonical.columns["input_source"].array()
    for player in (0, 1):
        truth = decided(match, export, player)
        assert actions(export, player) == [value for value, _ in truth]
        agent = export.header.game.agents.index(export.header.game.players[player])
        assert sources[:, agent].tolist() == [source for _, source in truth]


def assert_resimulates(match: Match, export: Export) -> None:
    """A fresh game, stepped by hand from seed and inputs, gives the recorded rewards, infos and observations."""
    game = match.fresh_game(export.own.player)
    spec, columns, frames = game.spec, export.canonical.columns, export.header.frames
    infos: dict[tuple[int, int], dict[str, Any]] = {}
    for info in export.canonical.infos:
        infos.setdefault((info.row, info.agent), {})[info.key] = unpack_value(info.value)
    seen_infos: dict[tuple[int, int], dict[str, Any]] = {}
    rows = []

    def note(row: int, given: Any) -> None:
        seen_infos.update({(row, agent): dict(info) for agent, info in enumerate(given) if info})
        rows.append((game.observe(), game.digest(game.save())))

    note(0, game.reset(export.header.seed))
    for frame, joint in enumerate(zip(actions(export, 0), actions(export, 1), strict=True)):
        outcome = game.step(joint)
        assert columns["rewards"].array()[frame].tolist() == list(outcome.rewards)
        assert columns["terminations"].array()[frame].tolist() == list(outcome.terminated)
        assert columns["truncations"].array()[frame].tolist() == list(outcome.truncated)
        assert not outcome.terminal or frame == frames - 1
        if export.header.status == "complete" and frame == frames - 1:
            assert outcome.terminal
        for agent, action in zip(spec.npcs, outcome.npc_actions, strict=True):
            assert columns[f"actions/{spec.agents[agent]}"].array()[frame].tobytes() == action
            assert columns["input_source"].array()[frame][agent] == 2
        note(frame + 1, outcome.infos)
    assert infos.keys() == seen_infos.keys()
    for place, info_of_row in seen_infos.items():
        assert same_plain(infos[place], info_of_row), (place, infos[place], info_of_row)
    every = match.plan.save_every
    digests = columns["state_digest"].array().tolist()
    assert digests == [digest if row % every == 0 else 0 for row, (_, digest) in enumerate(rows)]
    for agent, name in enumerate(spec.agents):
        for row, (observations, _) in enumerate(rows):
            for key, value in observations[agent].items():
                assert columns[f"observations/{name}/{key}"].array()[row].tolist() == np.asarray(value).tolist()


def same_plain(one: Any, two: Any) -> bool:
    """Equal, and of the same types all the way down: 1 is not 1.0."""
    if isinstance(two, np.ndarray):
        return isinstance(one, np.ndarray) and one.dtype == two.dtype and one.tolist() == two.tolist()
    if isinstance(two, dict):
        return isinstance(one, dict) and one.keys() == two.keys() and all(same_plain(one[k], two[k]) for k in two)
    return type(one) is type(two) and bool(one == two)


def assert_own_part(match: Match, player: int, export: Export) -> None:
    """The peer's own columns and rollback events tell what its game was really asked to do."""
    frames, seed = export.header.frames, export.header.seed
    facts = list(zip(actions(export, 0), actions(export, 1), strict=True))
    simulated: list[list[Any]] = [[] for _ in range(frames)]
    for step in match.games[player].of(seed):
        if step.frame < frames:
            simulated[step.frame].append(step)
    rollbacks = export.own.rollbacks
    every = match.plan.save_every
    assert len([1 for load in match.games[player].loads if load.seed == seed]) == len(rollbacks)
    for frame in range(frames):
        # Sparse snapshots lie before the rollback's target, and frames in between are stepped without being new.
        taken_back = sum(1 for event in rollbacks if event.to_frame <= frame < event.at_frame)
        assert own(export, "rollbacks")[frame] == taken_back
    times = own(export, "times_simulated")
    assert times == [len(steps) for steps in simulated]
    if every == 1:
        assert times == [count + 1 for count in own(export, "rollbacks")]
    wrong = [any(step.inputs != facts[frame] for step in steps) for frame, steps in enumerate(simulated)]
    assert own(export, "mispredicted") == wrong
    assert all(s or not w for s, w in zip(own(export, "was_speculative"), wrong, strict=True))
    assert all(r == 0 or s for s, r in zip(own(export, "was_speculative"), own(export, "rollbacks"), strict=True))
    began = match.episodes[player][export.header.episode].began
    assert np.allclose([began + t for t in own(export, "time")], [steps[0].time for steps in simulated], atol=1e-9)
    for event in rollbacks:
        assert event.depth == event.at_frame - event.to_frame > 0
        assert event.predicted != event.actual
        if event.to_frame < frames:
            assert event.actual == facts[event.to_frame][event.player]
            assert event.player != player, "a peer does not mispredict itself"
    loads = [load.time - began for load in match.games[player].loads if load.seed == seed]
    assert np.allclose([event.time for event in rollbacks], loads, atol=1e-9), "stamped with when they happened"
    assert_seen(match, player, export)


def assert_seen(match: Match, player: int, export: Export) -> None:
    """``seen`` has what the policy was given, exactly at the frames where that differs from the confirmed one."""
    columns, agent = export.canonical.columns, export.header.game.players[player]
    log = match.policies[player].of(export.header.seed)
    differing = []
    for acted in log:
        if acted.frame < export.header.frames:
            final = {k: columns[f"observations/{agent}/{k}"].array()[acted.frame].tolist() for k in acted.saw}
            if final != {k: np.asarray(v).tolist() for k, v in acted.saw.items()}:
                differing.append(acted)
    assert own(export, "seen_frame") == [acted.frame for acted in differing]
    for key in log[0].saw if log else ():
        stored = export.own.columns[f"seen/{agent}/{key}"].array().tolist()
        assert stored == [np.asarray(acted.saw[key]).tolist() for acted in differing]


def inputs_in_time(match: Match, player: int, export: Export) -> list[bool]:
    """Per frame: had the partner's input for it (and all before) arrived when the frame was first simulated?

    From the log of received packets alone. What comes before the peer has begun the episode is not taken in.
    """
    episode, seed = export.header.episode, export.header.seed
    began = match.episodes[player][episode].began
    known: list[float] = []
    for sent in match.received:
        if sent.destination != player or sent.now <= began:
            continue
        if isinstance(sent.packet, Input) and sent.packet.episode == episode:
            last = sent.packet.start + len(sent.packet.inputs)
            if sent.packet.start <= len(known):
                known.extend([sent.now] * (last - len(known)))
    first: dict[int, float] = {}
    for step in match.games[player].of(seed):
        first.setdefault(step.frame, step.time)
    return [frame < len(known) and known[frame] <= first[frame] for frame in range(export.header.frames)]


def canonical_prefix(export: Export, frames: int) -> bytes:
    """The first rows of an export, as bytes: for comparing peers that got differently far."""
    parts = []
    for name in sorted(export.canonical.columns):
        column = export.canonical.columns[name]
        rows = frames + 1 if name.startswith(("observations/", "state_digest")) else frames
        parts.append(name.encode() + column.array()[:rows].tobytes())
    return b"".join(parts) + repr([info for info in export.canonical.infos if info.row <= frames]).encode()
