"""A small upload cannot claim to be a large one: its lengths are read before anything of it is built."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest

from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.export import Info
from rollgym.protocol.episode.export_body import decode_export, encode_export
from rollgym.protocol.episode.values import pack_value
from tests.protocol.test_episode import _with_infos, small_export

EMPTY_MAPS: list[dict[str, int]] = [{}] * 300_000
ROLLBACK = {"at_frame": 1, "to_frame": 0, "depth": 1, "player": 0, "predicted": b"", "actual": b"", "time": 0.0}


def tail(**changes: Any) -> dict[str, Any]:
    return {"start": 0, "inputs": [], "real": [], "rewards": [], **changes}


def body_with(place: str, value: Any) -> bytes:
    """The small export's body with one value changed; lists of anything at all can be made so."""
    plain: dict[str, Any] = msgpack.unpackb(encode_export(small_export()))
    part = plain
    *path, last = place.split(".")
    for name in path:
        part = part[name]
    part[last] = value
    packed: bytes = msgpack.packb(plain)
    return packed


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        ("own.stats", {"a": EMPTY_MAPS}, "own.stats"),
        ("own.policy", {"a": EMPTY_MAPS}, "own.policy"),
        ("own.software", {"a": "b" * 70_000}, "own.software"),
        ("header.game.parameters", {"a": [{}] * 1_100_000}, "header"),
        ("canonical.infos", [[0, 0, "", b""]] * 300_000, "canonical.infos"),
        ("own.rollbacks", [ROLLBACK] * 10_000, "own.rollbacks"),
        ("own.tail", tail(inputs=[[b"", b""]] * 100_000), "own.tail"),
        ("own.tail", tail(real=[[True] * 300_000]), "own.tail"),
        ("own.tail", tail(rewards=[[0] * 300_000]), "own.tail"),
        ("own.columns", {str(n): {} for n in range(513)}, "own.columns"),
        ("own", EMPTY_MAPS, "export"),
        ("header.frames", 10**18, "export"),
    ],
)
def test_what_claims_too_much_is_refused_before_it_is_built(place: str, value: Any, field: str) -> None:
    body = body_with(place, value)
    tracemalloc.start()
    try:
        with pytest.raises(ExportError) as caught:
            decode_export(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.field.split("[")[0] == field
    assert peak < 3 * len(body) + 200_000


def test_a_name_cannot_be_a_bomb() -> None:
    with pytest.raises(ExportError, match="300005 bytes"):
        decode_export(b"\x81\xdd" + (300_000).to_bytes(4, "big") + b"\x80" * 300_000 + b"\xc0")


def test_a_part_twice_counts_twice() -> None:
    body = encode_export(small_export())
    infos = msgpack.packb("infos") + msgpack.packb([[0, 0, "", b""]] * 5000)
    at = body.index(msgpack.packb("canonical") + b"\x82") + len(msgpack.packb("canonical"))
    with pytest.raises(ExportError, match=r"canonical\.infos: 10003 items"):
        decode_export(body[:at] + b"\x84" + infos + infos + body[at + 1 :])


def test_an_info_of_many_small_values_is_refused_and_a_large_array_is_not() -> None:
    large = Info(0, 0, "x", pack_value(np.zeros(2_000_000, np.uint8)))
    assert decode_export(encode_export(_with_infos(small_export(), [large]))).canonical.infos == [large]
    many = Info(0, 0, "x", pack_value([{}] * 2_000_000))
    with pytest.raises(ExportError, match=r"canonical\.infos\[0\]: a structure of 2000005 bytes"):
        decode_export(encode_export(_with_infos(small_export(), [many])))


def test_as_many_infos_as_a_game_may_give_are_taken() -> None:
    infos = [Info(row, 0, f"{key:03}", pack_value(key)) for row in range(4) for key in range(300)]
    assert decode_export(encode_export(_with_infos(small_export(), infos))).canonical.infos == infos
