"""Writes ``examples/recorded-match.json``: a match for clients in other languages to test themselves against.

Two of our peers play drift in virtual time over a network that delays, loses, repeats and reorders packets. The file
holds what one of them saw and sent, both exports of every episode, and the verdict (``docs/protocol.md`` describes it).
It is the same file every time: ``python -m scripts.record_match``.
"""

from __future__ import annotations

import base64
import heapq
import json
import sys
from pathlib import Path
from typing import Any

from rollgym.client_sim.network_model import Link, NetworkConditions
from rollgym.client_sim.peer.input_source import PolicyInputs
from rollgym.client_sim.peer.peer import Peer
from rollgym.games.builtin.drift.rules import Drift, benchmark_input
from rollgym.games.contract import Game, Observation
from rollgym.games.identity import identity
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.messages import ONLY_RELAY, MatchStart, PlaySettings, dump
from rollgym.server.record.verdicts import find

OUTPUT = Path(__file__).parents[1] / "examples" / "recorded-match.json"

PLAYER = 1
"""Whose view is recorded. Not 0, so that a client that takes its own index for granted is found out."""

WALL = 1_700_000_000.0
HOLD = 3
"""Frames for which a button is held: some predictions come true and some do not."""

SETTINGS = PlaySettings(episodes=2, fps=60.0, frame_limit=48, input_delay=1, max_prediction=8, checksum_interval=10)
NETWORK = Link.both(
    NetworkConditions(latency=0.05, jitter=0.015, loss=0.05, duplicate=0.03, reorder=0.05, reorder_delay=0.03)
)


def decision(player: int, episode: int, frame: int) -> int:
    """What a player decides at a frame: drift's reference workload, held for some frames."""
    return benchmark_input(player, 1000 * episode + frame // HOLD)


class Decided:
    """Plays :func:`decision`, or a list of decisions for each episode."""

    def __init__(self, player: int, decisions: list[list[int]] | None = None) -> None:
        self._player = player
        self._decisions = decisions
        self._episode = -1

    def reset(self, seed: int) -> None:
        self._episode += 1

    def act(self, observation: Observation, frame: int) -> int:
        if self._decisions is None:
            return decision(self._player, self._episode, frame)
        return self._decisions[self._episode][frame]


def match_start(player: int) -> MatchStart:
    """What the server would have said."""
    match = "m0123456789abcdef01234567"
    return MatchStart(
        match=match,
        player=player,
        participants=("ada", "grace"),
        seed=7,
        settings=SETTINGS,
        ticket="recorded",
        transports=ONLY_RELAY,
        upload=f"matches/{match}/episodes/{{episode}}",
    )


def make_peer(start: MatchStart, game: Game, decisions: list[list[int]] | None = None) -> Peer:
    """A peer as it was recorded, at time 0."""
    return Peer(
        start,
        game,
        PolicyInputs(Decided(start.player, decisions), game.spec.input_codecs[start.player]),
        policy_info={"name": "decided"},
        software={"rollgym": "recorded"},
        now=0.0,
        wall=WALL,
    )


def play() -> tuple[list[list[Any]], list[list[Export]]]:
    """The log of :data:`PLAYER`, and every player's exports."""
    peers = [make_peer(match_start(player), Drift()) for player in (0, 1)]
    channels = [NETWORK.channel(player, 1 - player, seed=1) for player in (0, 1)]
    exports: list[list[Export]] = [[], []]
    log: list[list[Any]] = []
    flying: list[tuple[float, int, int, bytes]] = []
    order, now = 0, 0.0
    while not all(peer.done for peer in peers):
        due = [max(now, peer.next_wakeup(now)) for peer in peers]
        if flying and flying[0][0] <= min(due):
            now, _, receiver, packet = heapq.heappop(flying)
            if receiver == PLAYER:
                log.append([now, "in", 1 - receiver, packet.hex()])
            peers[receiver].receive(1 - receiver, packet, now)
            continue
        player = due.index(min(due))
        now = due[player]
        if player == PLAYER:
            log.append([now, "poll"])
        for receiver, packet in peers[player].poll(now):
            if player == PLAYER:
                log.append([now, "out", receiver, packet.hex()])
            for arrival in channels[player].deliveries(now, len(packet)):
                order += 1
                heapq.heappush(flying, (arrival, order, receiver, packet))
        exports[player].extend(peers[player].take_exports())
    return log, exports


def verdict(exports: list[list[Export]]) -> str:
    """What the server says of these exports: one word, the same for all episodes."""
    words = {find([*pair], len(exports), Drift()).verdict for pair in zip(*exports, strict=True)}
    if len(words) != 1:
        raise ValueError(f"verdicts {sorted(words)}: expected one")
    return words.pop()


def recorded() -> dict[str, Any]:
    """The content of the file."""
    log, exports = play()
    own = exports[PLAYER]
    return {
        "about": "A match to test a client against. docs/protocol.md describes it, scripts/record_match.py makes it.",
        "game": dump(identity(Drift().spec)),
        "match_start": dump(match_start(PLAYER)),
        "wall": WALL,
        "decisions": [
            [decision(PLAYER, episode, frame) for frame in range(export.header.frames)]
            for episode, export in enumerate(own)
        ],
        "log": log,
        "exports": [
            {
                "frames": export.header.frames,
                "status": export.header.status,
                "digest": export.digest.hex(),
                "state_digests": [f"{one:016x}" for one in export.canonical.columns["state_digest"].array().tolist()],
                "rollbacks": len(export.own.rollbacks),
                "body": base64.b64encode(encode_export(export)).decode(),
            }
            for export in own
        ],
        "partner": [base64.b64encode(encode_export(export)).decode() for export in exports[1 - PLAYER]],
        "verdict": verdict(exports),
    }


def as_text(content: dict[str, Any]) -> str:
    """JSON with one line for every key, and one for every entry of the log."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list):
            parts.append(f" {json.dumps(key)}: [\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    """Write the file."""
    OUTPUT.write_text(as_text(recorded()), encoding="utf-8")
    sys.stdout.write(f"{OUTPUT}\n")


if __name__ == "__main__":
    main()
