"""``examples/recorded-match.json``: our own peer, fed with what was recorded, does what was recorded, byte for byte."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from rollgym.client_sim.peer.peer import Peer
from rollgym.games.builtin.drift.rules import Drift
from rollgym.games.identity import identity
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_body import decode_export, encode_export
from rollgym.protocol.messages import MatchStart, dump, parse
from rollgym.protocol.packets import Input, decode, encode
from rollgym.server.record.verdicts import find
from scripts.record_match import OUTPUT, as_text, make_peer, recorded

MATCH: dict[str, Any] = json.loads(OUTPUT.read_text(encoding="utf-8"))


class Differs(Exception):
    """The peer sent something else than what was recorded."""


def replay(log: list[list[Any]]) -> tuple[Peer, list[Export]]:
    """Feed a peer with the log. Raises :class:`Differs` at the first packet that is not the recorded one."""
    peer = make_peer(parse(MatchStart, MATCH["match_start"]), Drift(), MATCH["decisions"])
    exports: list[Export] = []
    sent: list[tuple[int, bytes]] = []
    for entry in log:
        now, kind = entry[0], entry[1]
        if kind == "out":
            if not sent or sent.pop(0) != (entry[2], bytes.fromhex(entry[3])):
                raise Differs(entry)
            continue
        if sent:
            raise Differs(sent)
        if kind == "in":
            peer.receive(entry[2], bytes.fromhex(entry[3]), now)
        else:
            sent = peer.poll(now)
            exports += peer.take_exports()
    return peer, exports


def test_our_own_peer_replays_it_byte_for_byte() -> None:
    peer, exports = replay(MATCH["log"])
    assert peer.done
    assert [encode_export(export) for export in exports] == [base64.b64decode(one["body"]) for one in MATCH["exports"]]


def test_one_changed_input_on_the_way_is_noticed() -> None:
    """What makes the first test worth something."""
    log = json.loads(json.dumps(MATCH["log"]))
    at, packet = next(
        (at, packet)
        for at, entry in enumerate(log)
        if entry[1] == "in" and isinstance(packet := decode(bytes.fromhex(entry[3])), Input) and packet.inputs
    )
    changed = (bytes([packet.inputs[-1][0] ^ 1]),)
    log[at][3] = encode(packet._replace(inputs=packet.inputs[:-1] + changed)).hex()
    with pytest.raises(Differs):
        replay(log)


def test_what_it_says_of_the_exports_is_in_them() -> None:
    exports = [decode_export(base64.b64decode(one["body"])) for one in MATCH["exports"]]
    partner = [decode_export(base64.b64decode(body)) for body in MATCH["partner"]]
    assert len(exports) == len(partner) == MATCH["match_start"]["settings"]["episodes"]
    for said, export, other in zip(MATCH["exports"], exports, partner, strict=True):
        assert (said["frames"], said["status"]) == (export.header.frames, export.header.status)
        assert said["digest"] == export.digest.hex() == other.digest.hex()
        digests = export.canonical.columns["state_digest"].array().tolist()
        assert said["state_digests"] == [f"{one:016x}" for one in digests]
        assert said["rollbacks"] == len(export.own.rollbacks) > 5
        assert find([export, other], 2, Drift()).verdict == MATCH["verdict"] == "verified"
        assert export.own.player == MATCH["match_start"]["player"] != other.own.player
    assert MATCH["game"] == json.loads(json.dumps(dump(identity(Drift().spec))))


def test_it_shows_the_network_at_work() -> None:
    """Lost, repeated and reordered packets, and both directions: otherwise it tests little."""
    arrived = [decode(bytes.fromhex(entry[3])) for entry in MATCH["log"] if entry[1] == "in"]
    sequences = [packet.sequence for packet in arrived if isinstance(packet, Input)]
    assert len(set(sequences)) < len(sequences)
    assert sequences != sorted(sequences)
    assert set(range(max(sequences))) - set(sequences)
    kinds = {type(packet).__name__ for packet in arrived}
    assert kinds == {"Hello", "Input", "End", "EndAck", "Bye"}


def test_the_file_is_what_the_script_makes() -> None:
    assert OUTPUT.read_text(encoding="utf-8") == as_text(recorded()), "run python -m scripts.record_match"
