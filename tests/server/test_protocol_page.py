"""``docs/protocol.md`` says what the code does: every field of every message, and examples byte for byte."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgpack
import pytest
from msgspec import Struct

from rollgym.protocol.episode import (
    OWN_COLUMNS,
    Canonical,
    Column,
    Export,
    Header,
    Info,
    Own,
    RollbackEvent,
    Tail,
    canonical_layout,
    content_digest,
)
from rollgym.protocol.messages import CLIENT_EVENTS, SERVER_EVENTS, GameIdentity, PlaySettings
from rollgym.protocol.packets import BYE_REASONS, MAX_PACKET, Bye, End, EndAck, Forward, Hello, Input, encode
from rollgym.protocol.seeds import episode_seed
from rollgym.protocol.values import pack_value
from rollgym.protocol.version import EPISODE_SCHEMA, PROTOCOL_VERSION
from rollgym.server.errors import RefusedError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text()

TINY = GameIdentity("tiny", "1", {"points": 3}, ("a", "b"), ({"type": "Discrete"},) * 2, ({"type": "Discrete"},) * 2)
HEADER = Header("m0", 0, 7, episode_seed(7, 0), TINY, PlaySettings(), ("x", "y"), 0, "aborted")


def tiny_canonical() -> Canonical:
    """An episode without frames: only what ``reset`` gave."""
    columns = {
        name: Column(dtype or "|u1", (rows, *(shape if shape is not None else (1,))), b"\1" * 8 * rows)
        for name, (dtype, rows, shape) in canonical_layout(HEADER).items()
    }
    columns["observations/a"] = Column("<i8", (1,), (5).to_bytes(8, "little"))
    columns["observations/b"] = Column("<i8", (1,), (6).to_bytes(8, "little"))
    return Canonical(columns, [Info(0, 1, "lives", pack_value(3))])


def vectors() -> dict[str, str]:
    """The examples of the page."""
    inputs = (b"\x01", b"\x00", b"\x0f")
    packet = Input(
        2, 100, inputs, 103, -24, (99, 101), (False, True), 5_000_000, 4_900_000, 12, 90, 0x1122334455667788, 513, 3
    )
    return {
        "hello": encode(Hello(0, False)).hex(),
        "input": encode(packet).hex(),
        "input-idle": encode(packet._replace(idle=b"\x06")).hex(),
        "end": encode(End(2, 450, bytes(range(32)))).hex(),
        "end-ack": encode(EndAck(2, 450)).hex(),
        "bye": encode(Bye(2, BYE_REASONS.index("left"))).hex(),
        "forward": encode(Forward(2, 1, 100, inputs)).hex(),
        "connect": msgpack.packb({"type": 0, "nsp": "/", "data": None}).hex(),
        "leave": msgpack.packb({"type": 2, "nsp": "/", "data": ["leave", {"reason": "x"}], "id": 1}).hex(),
        "episode-seed": f"seed 7, episode 0: {episode_seed(7, 0)}; episode 1: {episode_seed(7, 1)}",
        "value": pack_value({"b": 1, "a": [True, None, 2.5, "x"]}).hex(),
        "content-digest": content_digest(HEADER, tiny_canonical()).hex(),
    }


@pytest.mark.parametrize("name", list(vectors()))
def test_the_examples_are_right(name: str) -> None:
    found = re.search(rf"^{re.escape(name)} +(\S.*)$", PAGE, re.MULTILINE)
    assert found is not None, f"the page has no example {name}: {vectors()[name]}"
    assert found[1].strip() == vectors()[name]


def section(title: str) -> str:
    """The part of the page under a heading, up to the next of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,3}} |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the page has no section {title!r}"
    return found[2]


def fields(kind: Any) -> list[str]:
    """The fields of a message or of a packet."""
    return list(kind.__struct_fields__ if issubclass(kind, Struct) else kind._fields)


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        *((f"`{name}`", kind) for name, kind in {**CLIENT_EVENTS, **SERVER_EVENTS}.items()),
        ("`GameIdentity`", GameIdentity),
        ("`PlaySettings`", PlaySettings),
        ("Hello (type 1)", Hello),
        ("Input (type 2)", Input),
        ("End (type 3)", End),
        ("End-ack (type 4)", EndAck),
        ("Bye (type 5)", Bye),
        ("Forward (type 6)", Forward),
        ("Export", Export),
        ("Header", Header),
        ("Canonical", Canonical),
        ("Column", Column),
        ("Info", Info),
        ("Own", Own),
        ("RollbackEvent", RollbackEvent),
        ("Tail", Tail),
    ],
)
def test_every_field_is_in_its_table(title: str, kind: type[Any]) -> None:
    text = section(title)
    listed = re.findall(r"^\| `(\w+)`", text, re.MULTILINE)
    wanted = [name for name in fields(kind) if name != "episode" or not title.endswith(")")]
    assert [name for name in wanted if name not in listed] == []


def test_every_column_is_on_the_page() -> None:
    for name in canonical_layout(HEADER):
        assert f"`{re.sub('/.*', '/<agent>', name)}`" in section("Canonical columns"), name
    for name in OWN_COLUMNS:
        assert f"`{name}`" in section("Own columns"), name


def test_versions_limits_and_reasons() -> None:
    assert f"protocol version **{PROTOCOL_VERSION}**, episode schema **{EPISODE_SCHEMA}**" in PAGE
    assert f"at most {MAX_PACKET} bytes" in PAGE
    for code, reason in enumerate(BYE_REASONS):
        assert f"{code} {reason}" in section("Bye (type 5)")


def test_every_error_code_is_on_the_page() -> None:
    codes: set[str] = set()
    for path in (ROOT / "server").glob("*.py"):
        text = path.read_text()
        codes.update(re.findall(r"RefusedError\(\s*\d+,\s*\"(\w+)\"", text))
        codes.update(re.findall(r"(?:LobbyError|ErrorReply)\(\"(\w+)\"", text))
        codes.update(re.findall(r"RefusedError\(409 if .* else 503, error\.code", text) and ["full"])
    assert len(codes) > 25
    missing = [code for code in sorted(codes) if f"`{code}`" not in section("Error codes")]
    assert missing == []
    assert issubclass(RefusedError, Exception)
