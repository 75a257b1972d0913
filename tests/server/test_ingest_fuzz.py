"""Thousands of mutated uploads, tickets and paths against the real ingest: refused one by one, and nothing remains.

Most go straight to the handler, without a socket but with everything behind it: temporary file, worker process, store,
catalogue. Some go over HTTP. What passes for an export although it was mutated is judged too.
"""

from __future__ import annotations

import asyncio
import os
import random
import zlib
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import msgpack
import msgspec
import pytest
from aiohttp.test_utils import make_mocked_request

from rollgym.games.builtin.drift.rules import Drift
from rollgym.protocol.episode.export import Export, content_digest
from rollgym.protocol.episode.export_body import decode_export, encode_export
from rollgym.protocol.messages import MatchStart
from rollgym.server.record.verdicts import find
from rollgym.server.settings import Limits
from rollgym.server.storage.folder import FolderStore
from tests.server.clients import Running, make_settings, pair, running
from tests.server.exports import make_export

UPLOADS = 10_000 if os.environ.get("ROLLGYM_SOAK") else 1_500
OVER_HTTP = UPLOADS // 20
AT_ONCE = 16
GROWTH = 96 << 20
"""Bytes that the server and its worker may grow by over all of it: a leak of 10 kB an upload would be seen."""

EXPORT_BYTES = 1 << 20

REFUSALS = {400, 401, 403, 404, 405, 409, 413, 415, 422}
"""What the page of the protocol knows for what a client does wrong. Nothing of it is the server's fault."""

HEADS = (
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc1",
    b"\xc9",
)
"""MessagePack that announces 4 GiB, or is none."""


# --- mutations --------------------------------------------------------------------------------------------------


def of_bytes(body: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, cut out, doubled or made up; or no export at all."""
    if draw.random() < 0.02:
        return draw.choice((b"", b"\x91" * 100_000, b"\x81" * 50_000, draw.randbytes(2000), b"\0" * (EXPORT_BYTES + 1)))
    data = bytearray(body)
    for _ in range(draw.choice((1, 1, 1, 2, 5, 20))):
        at = draw.randrange(len(data) or 1)
        match draw.randrange(6):
            case 0:
                data[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                del data[at : at + draw.choice((1, 4, 100))]
            case 2:
                data[at:at] = data[at : at + draw.choice((1, 4, 100))]
            case 3:
                data[at:at] = draw.randbytes(draw.choice((1, 8)))
            case 4:
                del data[at:]
            case _:
                head = draw.choice(HEADS)
                data[at : at + len(head)] = head
    return bytes(data)


NUMBERS = [0, -1, 1, 2, 2**31, 2**63 - 1, 2**64 - 1, -(2**63), 1.5, float("nan"), float("inf")]
TEXTS = ["", "x" * 300, "../../etc/passwd", "m" + "0" * 24, "complete", "desync", "<i4", "|O", "<U99", "|b1"]
LISTS = [[], {}, [[]], [1, 2, 3], [2**62, 2**62], [0], [41, 0], {"a": 1}, {1: 2}]
OTHERS = [
    *(None, True, b"", b"\xff" * 50),
    *(msgpack.ExtType(1, b"\x92\xa3<i4\x901234"), msgpack.ExtType(99, b"?"), msgpack.Timestamp(1)),
]


def strange(draw: random.Random) -> Any:
    """A value that has no business anywhere."""
    nested: Any = 1
    for _ in range(draw.randrange(300)):
        nested = [nested] if draw.random() < 0.5 else {"k": nested}
    return draw.choice([*NUMBERS, *TEXTS, *LISTS, *OTHERS, nested])


def of_structure(body: bytes, draw: random.Random) -> bytes:
    """A few values, keys or elements somewhere in the structure replaced, removed, added or exchanged."""
    tree = msgpack.unpackb(body)
    for _ in range(draw.choice((1, 1, 2, 4))):
        _mutate_somewhere(tree, draw)
    if draw.random() < 0.7:
        _sign(tree)
    return bytes(msgpack.packb(tree))


def _mutate_somewhere(tree: Any, draw: random.Random) -> None:
    parent: Any = tree
    while True:
        if not parent:
            return  # an empty map or list
        keys = list(parent) if isinstance(parent, dict) else range(len(parent))
        key: Any = draw.choice(keys)
        node = parent[key]
        if not isinstance(node, dict | list) or not node or draw.random() < 0.15:
            break
        parent = node
    match draw.randrange(5):
        case 0 if isinstance(parent, dict):
            parent[draw.choice(["", "x", "frame", "rewards", "../x", "actions/player_9"])] = strange(draw)
        case 0:
            parent.insert(key, strange(draw))
        case 1:
            del parent[key]
        case 2:
            other = draw.choice(keys)
            parent[key], parent[other] = parent[other], parent[key]
        case 3 if isinstance(node, bytes) and node:
            changed = bytearray(node)
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
            parent[key] = bytes(changed)
        case 3 if isinstance(node, int) and not isinstance(node, bool) and abs(node) < 2**62:
            parent[key] = node + draw.choice((-1, 1))
        case _:
            parent[key] = strange(draw)


def _sign(tree: Any) -> None:
    """Give it the digest of what it now is, if it has one: the check goes on to what is behind the digest."""
    try:
        export = msgspec.convert(tree, Export, strict=True)
        tree["digest"] = content_digest(export.header, export.canonical)
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError):
        return


# --- requests ---------------------------------------------------------------------------------------------------


def headers_for(start: MatchStart, draw: random.Random) -> dict[str, str]:
    """Mostly right; sometimes a wrong ticket, type, encoding or length."""
    headers = {"Authorization": f"Bearer {start.ticket}", "Content-Type": "application/msgpack"}
    if draw.random() < 0.1:
        wrong = [f"{start.ticket}x", start.ticket[:-1], start.ticket[::-1], start.resume, "x" * 5000, "\x7f"]
        headers["Authorization"] = draw.choice(["", "Bearer", "Bearer ", "Basic x", *[f"bearer {w}" for w in wrong]])
    if draw.random() < 0.05:
        headers["Content-Type"] = draw.choice(["", "text/html", "application/json", "x", "multipart/form-data; a=b"])
    if draw.random() < 0.05:
        headers["Content-Encoding"] = draw.choice(["", "br", "x" * 1000, "identity, deflate"])
    if draw.random() < 0.05:
        headers["Content-Length"] = draw.choice(["0", "99999999999999", "1048577"])
    return headers


def place_for(start: MatchStart, other: str, draw: random.Random) -> tuple[str, str]:
    """Match and episode of the path, mostly right. The router lets through digits only as the episode."""
    match = start.match
    if draw.random() < 0.1:
        ids = [other, match + "x", match.upper(), "M" + match[1:], "m0", "m" + "0" * 24, "m" + "é" * 24]
        match = draw.choice([*ids, "..", ".", "../../..", "/etc", "\0", "x" * 10_000])
    return match, draw.choice(["0"] * 20 + ["1", "3", "007", "9999999"])


async def hand_in(server: Running, place: tuple[str, str], headers: dict[str, str], body: bytes) -> int:
    """To the handler, past the socket; the status of its answer."""
    content = aiohttp.StreamReader(Mock(), 1 << 16, loop=asyncio.get_running_loop())
    content.feed_data(body)
    content.feed_eof()
    where = {"match": place[0], "episode": place[1]}
    request = make_mocked_request("PUT", "/", headers=headers, match_info=where, payload=content)
    return (await server.server.ingest.put(request)).status


def resident(pid: int) -> int:
    """Bytes in memory."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def outside(data: Path) -> list[Path]:
    """What lies beside the data folder, and what is in it without being the store's."""
    store = FolderStore(data)
    places = (store.inbox, store.dataset)
    known = {data / ".lock", *data.glob("catalogue.sqlite*")}
    return [
        path
        for path in data.parent.rglob("*")
        if path.is_file() and path not in known and not any(path.is_relative_to(place) for place in places)
    ]


# --- the test ---------------------------------------------------------------------------------------------------


@pytest.mark.timeout(900)
async def test_mutated_uploads_hurt_nobody_and_leave_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    limits = Limits(upload_bytes=EXPORT_BYTES, export_bytes=EXPORT_BYTES, free_bytes=0)
    settings = make_settings(data, limits=limits, upload_grace=600.0)
    async with running(settings) as server, pair(server.url) as ((one, a), (two, b)), pair(server.url) as (_, (_, c)):
        good = make_export(a, frames=8, status="partner_left")
        assert outside(data) == []
        workers = server.server.workers
        watched = [os.getpid(), await workers.run(os.getpid)]
        statuses: Counter[int] = Counter()
        passed: list[bytes] = []

        async def one_upload(number: int) -> None:
            draw = random.Random(number)
            mutate = of_structure if draw.random() < 0.6 else of_bytes
            body = mutate(encode_export(good), draw)
            place, headers = place_for(a, c.match, draw), headers_for(a, draw)
            status = await hand_in(server, place, headers, body)
            statuses[status] += 1
            if status in (200, 409):
                passed.append(body)

        numbers = iter(range(UPLOADS))

        async def sender() -> None:
            for number in numbers:
                await one_upload(number)

        await asyncio.gather(*(one_upload(-n) for n in range(1, 101)))  # what is loaded once
        before = [resident(pid) for pid in watched]
        await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
        growth = [resident(pid) - size for pid, size in zip(watched, before, strict=True)]
        over_http = await send_over_http(server, a, good)

        print(f"{UPLOADS} in process {dict(statuses)}, {OVER_HTTP} over HTTP {dict(over_http)}, growth {growth} bytes")
        assert sum(statuses.values()) == UPLOADS + 100
        assert set(statuses) | set(over_http) <= {200, *REFUSALS}
        assert statuses[400] > UPLOADS / 3
        assert {200, 401, 403, 413, 415, 422} <= set(statuses), "mutations must get as far as each of the checks"
        assert workers.deaths == 0
        assert max(growth) < GROWTH
        assert outside(data) == []
        assert [path.name for path in data.rglob("*.msgpack")] == ["000000.0.msgpack"]  # the first that passed
        judge_what_passed(passed)

        # As if nothing had been: a good upload is taken and judged.
        assert await one.upload(a, make_export(a, episode=2)) == "new"
        assert await two.upload(b, make_export(b, episode=2)) == "new"
        assert (await one.verdict()).verdict == "verified"
        # And the strange one that passed is judged as well.
        await two.upload(b, make_export(b))
        assert (await one.verdict()).episode == 0


async def send_over_http(server: Running, start: MatchStart, good: Export) -> Counter[int]:
    """The same with everything in front of the handler: HTTP parser, router, content encodings."""
    statuses: Counter[int] = Counter()
    async with aiohttp.ClientSession() as http:
        for number in range(OVER_HTTP):
            draw = random.Random(f"http {number}")
            body = of_bytes(encode_export(good), draw)
            headers = {k: v for k, v in headers_for(start, draw).items() if k != "Content-Length" and v.isprintable()}
            if draw.random() < 0.5:
                headers["Content-Encoding"] = draw.choice(["deflate", "gzip"])
                body = of_bytes(zlib.compress(body, 1), draw)
            match, episode = draw.choice([(start.match, "0")] * 9 + [("%2e%2e%2f%2e%2e", "0"), (start.match, "-1")])
            url = f"{server.url}/matches/{match}/episodes/{episode}"
            try:
                async with http.put(url, data=body, headers=headers) as response:
                    statuses[response.status] += 1
            except aiohttp.ClientError:  # hung up on, while it was still sending
                statuses[400] += 1
    return statuses


def judge_what_passed(bodies: list[bytes]) -> None:
    """Whatever gets past the check gets a verdict, and no error."""
    verdicts: Counter[str] = Counter()
    for body in bodies:
        verdicts[find([decode_export(body)], 2, Drift()).verdict] += 1
    print(f"{len(bodies)} mutated exports passed: {dict(verdicts)}")
    assert verdicts["single"] > 0
    assert verdicts["diverged"] > 0
