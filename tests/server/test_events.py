"""The stream of events: complete, in order, without secrets, and nobody's subscriber harms anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import structlog
from structlog.testing import capture_logs

from rollgym.server.events import kinds
from rollgym.server.events.counting import counting
from rollgym.server.events.kinds import Event, Level
from rollgym.server.events.log_lines import write_line
from rollgym.server.events.stream import EventStream, Published
from rollgym.server.metrics import Metrics
from tests.server.clients import Client, make_settings, pair, running, until
from tests.server.exports import altered, make_export

EVERY = [
    kind for kind in vars(kinds).values() if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]


async def heard(tmp_path: Path) -> tuple[list[Published], list[str]]:
    """What a server says of one match, and the secrets that were in play."""
    found: list[Published] = []
    async with running(make_settings(tmp_path)) as server:
        server.server.events.subscribe(found.append)
        async with pair(server.url) as ((one, a), (two, b)):
            await one.relay(a)
            await two.relay(b)
            await one.upload(a, make_export(a))
            await one.put(a, b"no export", episode=1)
            await two.upload(b, make_export(b))
            await one.verdict()
            await two.put(b, msgspec.msgpack.encode(1), ticket="nobody's")
            await one.call("join", {"nonsense": 1})
            for client in (one, two):
                await client.call("finished", {"episodes": 1})
            await one.over()
        await until(lambda: sum(isinstance(p.event, kinds.ClientDisconnected) for p in found) == 2)
    return found, [a.ticket, b.ticket, a.resume, b.resume]


async def test_a_match_from_the_first_connection_to_the_last(tmp_path: Path) -> None:
    found, secrets = await heard(tmp_path)
    assert [published.number for published in found] == [found[0].number + n for n in range(len(found))]
    assert [published.at for published in found] == sorted(published.at for published in found)
    names = [published.event.kind for published in found]
    order = ["client_connected", "client_joined", "match_started", "upload_stored", "verdict", "match_over"]
    assert [names.index(name) for name in order] == sorted(names.index(name) for name in order)
    for name, times in {
        "client_connected": 2,
        "client_joined": 2,
        "match_started": 1,
        "upload_stored": 2,
        "upload_answered": 2,
        "upload_refused": 2,
        "message_refused": 1,
        "verdict": 1,
        "match_over": 1,
        "client_disconnected": 2,
    }.items():
        assert names.count(name) == times, (name, names)
    said = msgspec.json.encode([published.event for published in found]).decode()
    assert not any(secret in said for secret in secrets)


async def test_every_event_is_plain_data_that_says_its_kind(tmp_path: Path) -> None:
    found, _ = await heard(tmp_path)
    for _, _, event in found:
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
        assert plain.pop("kind") == event.kind
        assert plain == msgspec.json.decode(msgspec.json.encode(event.fields()))


def test_kinds_have_names_and_levels_of_their_own() -> None:
    names = [kind.__struct_config__.tag for kind in EVERY]
    assert len(set(names)) == len(names) > 20
    assert {kind.level for kind in EVERY} <= {*get_args(Level), None}
    structlog_words = {"event", "level", "timestamp", "exc_info"}
    assert not any(structlog_words & set(kind.__struct_fields__) for kind in EVERY)


def test_whoever_fails_costs_nobody_else_the_event() -> None:
    stream, found = EventStream(lambda: 5.0), list[Published]()

    def fail(_: Published) -> None:
        raise RuntimeError("of a subscriber")

    stream.subscribe(fail)
    leave = stream.subscribe(found.append)
    with capture_logs() as lines:
        stream.publish(kinds.MatchAnnulled(match="m"))
    assert found == [Published(0, 5.0, kinds.MatchAnnulled(match="m"))]
    assert [(line["event"], line["kind"]) for line in lines] == [("subscriber_failed", "match_annulled")]
    leave()
    leave()
    stream.publish(kinds.MatchAnnulled(match="m"))
    assert len(found) == 1


def test_whoever_subscribes_while_an_event_is_told_hears_the_next_one() -> None:
    stream, late = EventStream(), list[int]()

    def invite(published: Published) -> None:
        if published.number == 0:
            stream.subscribe(lambda later: late.append(later.number))

    stream.subscribe(invite)
    for _ in range(3):
        stream.publish(kinds.MatchAnnulled(match="m"))
    assert late == [1, 2]


def test_a_line_has_what_is_known_and_an_event_without_level_has_none() -> None:
    structlog.reset_defaults()
    with capture_logs() as lines:
        for event in (
            kinds.ClientDropped(code="not_joined", reason="why", client="c"),
            kinds.QueueChanged(waiting=3),
            kinds.ConnectionLost(match="m", player=1, reason="ping timeout", held_for=5.0),
        ):
            write_line(Published(0, 0.0, event))
    assert lines == [
        {"event": "client_dropped", "code": "not_joined", "reason": "why", "client": "c", "log_level": "info"},
        {
            "event": "connection_lost",
            "match": "m",
            "player": 1,
            "reason": "ping timeout",
            "held_for": 5.0,
            "log_level": "warning",
        },
    ]


async def test_the_metrics_are_what_the_events_say(tmp_path: Path) -> None:
    """A second set of metrics, fed with the events alone, is the server's own."""
    second = Metrics()
    async with running(make_settings(tmp_path)) as server:
        server.server.events.subscribe(counting(second))
        async with pair(server.url) as ((one, a), (two, b)):
            await one.upload(a, make_export(a))
            await one.put(a, b"no export", episode=1)
            await two.upload(b, altered(make_export(b), "rewards", 1))
            await one.verdict()
            async with Client(server.url) as third:
                await third.join()
            for client in (one, two):
                await client.call("finished", {"episodes": 1})
            await one.over()
        await until(lambda: server.server.metrics.connections._value.get() == 0)
    lines = [line for line in server.server.metrics.text().splitlines() if b"_created" not in line]
    assert lines == [line for line in second.text().splitlines() if b"_created" not in line]
    assert b'rollgym_verdicts_total{verdict="diverged"} 1.0' in lines
