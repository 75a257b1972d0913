"""A whole match in virtual time: the real wire peers, a seeded network, no sockets, no clock.

Determinism contract: the result is a pure function of the :class:`Scenario`. Events are ordered by (time, order of
creation); peers, channels and faults draw from generators seeded by the scenario; nothing reads a clock, a hash order
or global randomness. So a scenario gives the same trace and the same exports, byte for byte, every time.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import xxhash

from rollgym.client_sim.network_model import Channel
from rollgym.client_sim.peer.events import DesyncFound, EpisodeStarted, MatchEnded
from rollgym.client_sim.peer.input_source import PolicyInputs
from rollgym.client_sim.peer.peer import Peer
from rollgym.client_sim.simulator.result import PlayerResult, SimulationResult, SimulationStuck
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.protocol.messages import ONLY_RELAY, MatchStart
from rollgym.protocol.packets import Hello, encode

KEEP_ALIVE = 0.25
"""Seconds between two hellos of a client whose game is at work."""

EPOCH = 1_700_000_000.0
"""Unix seconds at virtual time 0: exports carry wall times, and these must not vary."""

TIME_LIMIT_SLACK = 600.0
"""Virtual seconds a match may take beyond twice its nominal length before it counts as stuck."""


class Simulator:
    """Runs one :class:`Scenario`."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.now = 0.0
        players = len(scenario.policies)
        self._queue: list[tuple[float, int, int, int, bytes]] = []
        self._order = 0
        self._trace = xxhash.xxh3_128()
        self._handled = 0
        self.results = [PlayerResult() for _ in range(players)]
        self._channels: dict[tuple[int, int], Channel] = {
            (a, b): scenario.link.channel(a, b, scenario.seed) for a in range(players) for b in range(players) if a != b
        }
        self.peers: list[Peer | None] = [None] * players
        self._due = [float("inf")] * players
        self._resume = [0.0] * players
        self._dead = [False] * players
        self._over = False

    # -- running -------------------------------------------------------------------------------------------------

    def run(self) -> SimulationResult:
        """:meth:`play`, but what a game or a policy raised is raised when all have come to their ends;
        :attr:`results` has what they had."""
        result = self.play()
        for player in result.players:
            if player.failure is not None:
                raise player.failure
        return result

    def play(self) -> SimulationResult:
        """Play until every peer that lives is done. Raises :class:`SimulationStuck` if that takes too long."""
        scenario = self.scenario
        for player in range(len(self.peers)):
            start = scenario.starts[player] if player < len(scenario.starts) else 0.0
            self._push(start, _START, player)
        for pause in scenario.pauses:
            self._push(pause.at, _PAUSE, pause.player, str(pause.duration).encode())
        for kill in scenario.kills:
            self._push(kill.at, _KILL, kill.player)
            if scenario.notify_after is not None:
                self._push(kill.at + scenario.notify_after, _NOTIFY, kill.player)
        limit = self._time_limit()
        while self._queue and not self._over:
            time, _, kind, player, data = heapq.heappop(self._queue)
            self.now = time
            if time > limit:
                raise SimulationStuck(self._describe(limit))
            self._handle(time, kind, player, data)
        if not self._over:
            raise SimulationStuck(self._describe(self.now))
        for player, peer in enumerate(self.peers):
            if peer is not None:
                self._collect(player, peer)
                self.results[player].stats = peer.stats
                self.results[player].refused = sum(remote.refused for remote in peer.remotes.values())
                self.results[player].refusals = [remote.refusal for remote in peer.remotes.values() if remote.refusal]
                self.results[player].packets_sent = peer.stats["packets_sent"]
                self.results[player].bytes_sent = peer.stats["bytes_sent"]
                self.results[player].failure = peer.failure
        return SimulationResult(self.results, self.now, self._trace.hexdigest(), self._handled)

    def _time_limit(self) -> float:
        scenario = self.scenario
        if scenario.time_limit is not None:
            return scenario.time_limit
        play = scenario.settings
        episode = play.frame_limit / play.fps if play.frame_limit is not None else 3600.0
        pauses = sum(pause.duration for pause in scenario.pauses) + sum(p.duration for p in scenario.partitions)
        return play.episodes * episode * 8 + pauses + TIME_LIMIT_SLACK

    def _finished(self) -> bool:
        return all(self._dead[player] or (peer is not None and peer.done) for player, peer in enumerate(self.peers))

    def _describe(self, at: float) -> str:
        places = [
            f"player {p}: " + ("not started" if peer is None else f"{peer.phase.value}, {peer.stats}")
            for p, peer in enumerate(self.peers)
        ]
        return f"not finished after {at:.1f} virtual seconds: " + "; ".join(places)

    def _push(self, time: float, kind: int, player: int, data: bytes = b"") -> None:
        self._order += 1
        heapq.heappush(self._queue, (time, self._order, kind, player, data))

    # -- events --------------------------------------------------------------------------------------------------

    def _handle(self, now: float, kind: int, player: int, data: bytes) -> None:
        if self._dead[player] and kind != _NOTIFY:
            return
        self._handled += 1
        if kind == _WAKE:
            if self._due[player] != now:
                return  # a newer wake-up took this one's place
            self._due[player] = float("inf")
            if now < self._resume[player]:
                self._wake(player, self._resume[player])
                return
            self._poll(player, now)
        elif kind == _PACKET:
            peer = self.peers[player]
            if peer is None:
                return  # nobody listens yet
            if now < self._resume[player]:
                # It waits in the socket's buffer until the process is scheduled again.
                self._push(self._resume[player], _PACKET, player, data)
                return
            self._trace.update(b"%d<%d@%.9f" % (player, data[0], now))
            peer.receive(data[0], data[1:], now)
            self._reschedule(player, peer, now)
        elif kind == _SEND:
            self._transmit(player, data[0], data[1:], now)
        elif kind == _START:
            self._start(player, now)
        elif kind == _PAUSE:
            self._resume[player] = max(self._resume[player], now + float(data))
        elif kind == _KILL:
            peer = self.peers[player]
            if peer is not None:
                self._collect(player, peer)
            self._dead[player] = True
            self._over = self._finished()
        elif kind == _NOTIFY:
            for other, peer in enumerate(self.peers):
                if other != player and peer is not None and not self._dead[other]:
                    peer.player_left(player, now)

    def _start(self, player: int, now: float) -> None:
        scenario = self.scenario
        game = scenario.game()
        policy = scenario.policies[player](game, player)
        start = MatchStart(
            match=scenario.match,
            player=player,
            participants=tuple(f"bot-{p}" for p in range(len(self.peers))),
            seed=scenario.seed,
            settings=scenario.settings,
            ticket="simulated",
            transports=ONLY_RELAY,
            upload=f"matches/{scenario.match}/episodes/{{episode}}",
        )
        known = player < len(scenario.policy_infos)
        self.peers[player] = Peer(
            start,
            game,
            PolicyInputs(policy, game.spec.input_codecs[player]),
            policy_info=dict(scenario.policy_infos[player]) if known else {"name": type(policy).__name__},
            software=dict(scenario.software),
            now=now,
            wall=EPOCH + now,
            predictor=scenario.predictor,
        )
        self._wake(player, now)

    def _wake(self, player: int, at: float) -> None:
        self._due[player] = at
        self._push(at, _WAKE, player)

    def _reschedule(self, player: int, peer: Peer, now: float) -> None:
        due = max(peer.next_wakeup(now), now)
        if due < self._due[player]:
            self._wake(player, due)

    def _poll(self, player: int, now: float) -> None:
        peer = self.peers[player]
        assert peer is not None
        packets = peer.poll(now)
        busy = self.scenario.computing(player) if self.scenario.computing is not None else 0.0
        if busy:
            self._work(player, now, busy, packets)
        else:
            for destination, packet in packets:
                self._transmit(player, destination, packet, now)
        self._collect(player, peer)
        if peer.done:
            self._over = self._finished()
        else:
            self._reschedule(player, peer, now)

    def _work(self, player: int, now: float, busy: float, packets: Sequence[tuple[int, bytes]]) -> None:
        """The poll took ``busy`` seconds. Its packets leave then; until then there is only the word of its client."""
        self._resume[player] = max(self._resume[player], now + busy)
        others = [other for other in range(len(self.peers)) if other != player]
        alive = encode(Hello(0, True))
        for count in range(int(min(busy, self.scenario.settings.start_timeout) / KEEP_ALIVE)):
            for other in others:
                self._push(now + count * KEEP_ALIVE, _SEND, player, bytes((other,)) + alive)
        for destination, packet in packets:
            self._push(now + busy, _SEND, player, bytes((destination,)) + packet)

    def _transmit(self, player: int, destination: int, packet: bytes, now: float) -> None:
        self._trace.update(b"%d>%d@%.9f" % (player, destination, now))
        self._trace.update(packet)
        if self.scenario.partitions and self._cut(player, now):
            return
        for arrival in self._channels[player, destination].deliveries(now, len(packet)):
            self._push(arrival, _PACKET, destination, bytes((player,)) + packet)

    def _cut(self, player: int, now: float) -> bool:
        return any(
            p.at <= now < p.at + p.duration and (p.player is None or p.player == player)
            for p in self.scenario.partitions
        )

    def _collect(self, player: int, peer: Peer) -> None:
        result = self.results[player]
        events = peer.take_events()
        if events:
            for event in events:
                if isinstance(event, EpisodeStarted | MatchEnded | DesyncFound):
                    self._trace.update(repr(event).encode())
            result.events.extend(events)
        exports = peer.take_exports()
        for export in exports:
            self._trace.update(export.digest)
        result.exports.extend(exports)


_START, _WAKE, _PACKET, _PAUSE, _KILL, _NOTIFY, _SEND = range(7)


def simulate(scenario: Scenario) -> SimulationResult:
    """Run a scenario from start to end."""
    return Simulator(scenario).run()
