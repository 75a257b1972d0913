"""``docs/protocol.md`` says what the code does: every field of every message, and examples byte for byte."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgpack
import pytest
from msgspec import Struct

from rollgym.client_sim.client import reconnecting_control as resuming
from rollgym.client_sim.peer import farewell, intake, meeting, pacing
from rollgym.client_sim.peer.disconnect_agreement import FORWARD_INTERVAL
from rollgym.client_sim.peer.episode_end import END_INTERVAL
from rollgym.client_sim.peer.input_sender import PACKETS_PER_TICK
from rollgym.client_sim.player.messages import KEEP_ALIVE
from rollgym.client_sim.rollback.time_sync import DEAD_ZONE, FASTEST, GAIN, SLOWEST, SMOOTHING
from rollgym.protocol import packets
from rollgym.protocol.column_names import joined
from rollgym.protocol.episode import bounds as bounds
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import (
    OWN_COLUMNS,
    Canonical,
    Export,
    Header,
    Info,
    Own,
    RollbackEvent,
    Status,
    Tail,
    canonical_layout,
    content_digest,
)
from rollgym.protocol.episode.values import pack_value
from rollgym.protocol.messages import CLIENT_EVENTS, SERVER_EVENTS, GameIdentity, PlaySettings
from rollgym.protocol.packets import (
    ADVANTAGE_UNIT,
    BYE_REASONS,
    MAX_PACKET,
    NO_ECHO,
    Bye,
    End,
    EndAck,
    Forward,
    Hello,
    Input,
    encode,
)
from rollgym.protocol.relay import LEFT, MATCH_OVER, REPLACED
from rollgym.protocol.seeds import SEED_LIMIT, episode_seed
from rollgym.protocol.version import EPISODE_SCHEMA, PACKET_VERSION, PROTOCOL_VERSION
from rollgym.server.errors import RefusedError
from rollgym.server.http import control
from rollgym.server.play.match import LAST_UPLOADS, MARGIN
from rollgym.server.play.relay import HELD
from rollgym.server.play.seat_resume import UNNOTICED
from rollgym.server.settings import Limits, ServerSettings

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
    versions = f"protocol version **{PROTOCOL_VERSION}**, packet version **{PACKET_VERSION}**"
    assert f"{versions}, episode schema **{EPISODE_SCHEMA}**" in PAGE
    assert f"at most {MAX_PACKET} bytes" in PAGE
    for code, reason in enumerate(BYE_REASONS):
        assert f"{code} {reason}" in section("Bye (type 5)")


def test_every_error_code_is_on_the_page() -> None:
    codes: set[str] = set()
    for path in (ROOT / "server").glob("**/*.py"):
        text = path.read_text()
        codes.update(re.findall(r"RefusedError\(\s*\d+,\s*\"(\w+)\"", text))
        codes.update(re.findall(r"(?:LobbyError|ErrorReply)\(\"(\w+)\"", text))
        codes.update(re.findall(r"RefusedError\(409 if .* else 503, error\.code", text) and ["full"])
    assert len(codes) > 25
    missing = [code for code in sorted(codes) if f"`{code}`" not in section("Error codes")]
    assert missing == []
    assert issubclass(RefusedError, Exception)


def test_defaults_and_floats_of_play_settings() -> None:
    table = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", section("`PlaySettings`"), re.MULTILINE)
    said = {name: (kind.split()[0] == "float", value.strip().strip("`")) for name, kind, value in table}
    values = {name: getattr(PlaySettings(), name) for name in PlaySettings.__struct_fields__}
    floats = {name for name, kind in get_type_hints(PlaySettings).items() if kind is float}
    assert said == {name: (name in floats, "null" if value is None else str(value)) for name, value in values.items()}


LIMITS = Limits()
SERVER = ServerSettings()
MIB = 1 << 20


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"


def _size(kind: Any) -> str:
    return f"{len(encode(kind))} bytes."


CLAIMS = {
    "handshake": f"as MessagePack, within {control._CONNECT_WITHIN:g} s",
    "ping": f"about once in {SERVER.ping_interval} s",
    "ping timeout": f"By default that is {SERVER.ping_timeout:g} s",
    "control message": f"A control message is at most {LIMITS.message_bytes // MIB} MiB",
    "mailbox": f"more than {LIMITS.mailbox} messages unread",
    "back-off": f"with back-off from {_ms(resuming.BACKOFF_FIRST)} to {resuming.BACKOFF_MOST:g} s",
    "seat kept": f"can be resumed for {UNNOTICED:g} s longer",
    "not joined": f"neither waited nor played for too long ({LIMITS.join_seconds:g} s)",
    "relay opened in time": f"within `start_timeout` and {MARGIN:g} s",
    "stuck": f"silence that the match allows, and {MARGIN:g} s",
    "body too slow": f"the body took too long ({LIMITS.upload_seconds:g} s)",
    "body too large": f"as sent ({LIMITS.upload_bytes // MIB} MiB) or without its encoding"
    f" ({LIMITS.export_bytes // MIB} MiB)",
    "packet": f"one packet of at least 1 and at most {MAX_PACKET} bytes",
    "slow receiver": f"(more than {LIMITS.relay_buffer_bytes >> 10} KiB unsent)",
    "rate": f"beyond {LIMITS.relay_packets_per_second:,.0f} packets a second",
    "1008": "fewer than 2 bytes",
    "1009": f"more than {MAX_PACKET + 1} bytes",
    "packet size": f"at most {MAX_PACKET} bytes. Who",
    "head": f"the same {packets._HEAD.size} bytes",
    "hello": f"reached me | {_size(Hello(0, True))}",
    "end digest": "32 bytes | [content digest]",
    "end": f"of its export | {_size(End(0, 1, bytes(32)))}",
    "end-ack": f"own end | {_size(EndAck(0, 1))}",
    "bye": f"5 dropped | {_size(Bye(0, 0))}",
    "digest": f"| `digest` | {len(content_digest(HEADER, tiny_canonical()))} bytes | of header",
    "blake3": f"BLAKE3, {len(content_digest(HEADER, tiny_canonical()))} bytes",
    "held": f"The relay holds the last {HELD} packets",
    "relay codes": f"| {REPLACED} | a newer connection of the same player took over |"
    f" | {MATCH_OVER} | the match is over | | {LEFT} | this player has left the match",
    "hello interval": f"every {_ms(meeting.HELLO_INTERVAL)} until every other player was heard",
    "end interval": f"and then every {_ms(END_INTERVAL)} until",
    "end again": f"instead of it), every {_ms(END_INTERVAL)}",
    "bye interval": f"at once and every {_ms(meeting.HELLO_INTERVAL)}, until every other player said *bye*"
    f" or {farewell.LINGER:g} s have passed",
    "linger": f"was heard within the last {farewell.LINGER:g} s",
    "grace": f"after the last episode), {intake.LEAVE_GRACE:g} s later,"
    f" {intake.LEAVE_GRACE:g} s after the server's `peer_left`",
    "forward": f"the missing inputs, every {_ms(FORWARD_INTERVAL)}",
    "notice": f"tells it so, every {_ms(FORWARD_INTERVAL)}",
    "packets per tick": f"and up to {PACKETS_PER_TICK - 1} further packets",
    "smoothing": f"local += {SMOOTHING:g} * ((own current now - packet current) - local)"
    f" remote += {SMOOTHING:g} * (packet advantage / {ADVANTAGE_UNIT} - remote)",
    "advantage": f"`advantage` is `{ADVANTAGE_UNIT} * local`, rounded",
    "stretch": f"`1 + {GAIN:g} * ahead`, kept within {FASTEST:.2f}..{SLOWEST:.2f}; 1 while `ahead` is between"
    f" -{DEAD_ZONE:g} and {DEAD_ZONE:g}",
    "keep-alive": f"everybody, every {KEEP_ALIVE:g} s (or a quarter",
    "catch up": f"are known for `{pacing.CATCH_UP_AFTER} + input_delay` frames beyond",
    "clock debt": f"If its clock is more than {pacing.CLOCK_DEBT} frames late",
    "echo age": f"{NO_ECHO - 1}: that long or longer; {NO_ECHO}: no packet yet",
    "last uploads": f"the server waits {LAST_UPLOADS:g} s for what is still missing",
    "seeds": f"modulo 2^{(SEED_LIMIT - 1).bit_length()}",
    "header bound": f"| `header` | {bounds.MAX_HEADER_BYTES:,} bytes |",
    "free bound": f"`own.software` | {bounds.MAX_FREE_BYTES:,} bytes |",
    "columns bound": f"| columns in each of `canonical` and `own` | {bounds.MAX_COLUMNS} |",
    "infos bound": f"`(T + 1) * A * {bounds.MAX_INFOS_PER_ROW}`, and {bounds.MAX_INFOS:,} |",
    "info bound": f"a list or a map | {bounds.MAX_INFO_STRUCTURE_BYTES:,} bytes |",
    "rollbacks bound": f"`(T + ahead) * A`, and {bounds.MAX_ROLLBACKS:,}:",
    "tail bound": f"`T + ahead`, and {bounds.MAX_TAIL:,} |",
    "row bound": f"| values in such a row | {bounds.MAX_PLAYERS} |",
}
"""What the page says in numbers, made from the code's own."""

EXAMPLES = ("clock 500 s, echo 490 s, age 1.2 ms", "fewest of 1, 2, 4, 8 bytes", "first 8 bytes, as a")
"""Numbers that other tests check: the examples' packets, codecs, seeds, fields."""

TEXT = re.sub(r"\s+", " ", PAGE)


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_every_number_is_the_codes(claim: str) -> None:
    assert CLAIMS[claim] in TEXT


def test_no_number_with_a_unit_is_left_unchecked() -> None:
    """A new one on the page needs a claim above."""
    checked = [range(at.start(), at.end()) for said in (*CLAIMS.values(), *EXAMPLES) for at in _places(said)]
    units = r"ms|s|KiB|MiB|bytes?|packets|messages"
    found = list(re.finditer(rf"(?<![\w.`/(-])\d[\d,.]* (?:{units})\b", TEXT))
    assert len(found) > 25
    missing = [TEXT[at.start() - 40 : at.end() + 20] for at in found if not any(at.start() in span for span in checked)]
    assert missing == []


def _places(said: str) -> list[re.Match[str]]:
    return list(re.finditer(re.escape(said), TEXT))


def test_every_status_is_on_the_page() -> None:
    statuses = get_args(Status)
    assert [status for status in statuses if f"`{status}`" not in section("Header")] == []
    assert [status for status in statuses if f"`{status}`" not in section("Leaving")] == []


def test_names_of_columns_are_escaped_as_the_page_says() -> None:
    assert joined(["observations", "x", "a/b"], "/") == "observations/x/a%2Fb"
    assert "`observations/x/a%2Fb`" in section("Canonical columns")
    assert joined(["%", ""], "/") == "%25/%"
