"""What a web page needs: its ticket as a subprotocol, and leave to ask. And addresses, behind whatever proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from hypothesis import example, given
from hypothesis import strategies as st

from rollgym.protocol.addresses import resolved
from rollgym.protocol.messages import PeerSignal
from rollgym.protocol.relay import RELAY, SUBPROTOCOL, TICKET_PROTOCOL
from rollgym.server.http.origins import allowed
from rollgym.server.play.matches import SIGNALS
from rollgym.server.settings import ServerSettings
from tests.server.clients import Client, make_settings, pair, running

LAB = "https://lab.example"


def with_origins(data: Path, *origins: str) -> ServerSettings:
    return make_settings(data).model_copy(update={"origins": origins})


# --- tickets --------------------------------------------------------------------------------------------------------


async def test_the_ticket_opens_the_relay_as_a_subprotocol(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        url = resolved(server.url, a.transports[0].address)
        offered = (SUBPROTOCOL, TICKET_PROTOCOL + a.ticket)
        async with one.http.ws_connect(url, protocols=offered) as page:
            assert page.protocol == SUBPROTOCOL  # and the ticket is not sent back
            plain = await two.relay(b)
            await plain.send_bytes(bytes((0,)) + b"packet")
            assert await page.receive_bytes() == bytes((1,)) + b"packet"
            await plain.close()


@pytest.mark.parametrize(
    "protocols",
    [
        (),
        (SUBPROTOCOL,),
        (TICKET_PROTOCOL + "TICKET",),
        (SUBPROTOCOL, TICKET_PROTOCOL),
        (SUBPROTOCOL, TICKET_PROTOCOL + "wrong"),
        (SUBPROTOCOL, TICKET_PROTOCOL + "TICKET", TICKET_PROTOCOL + "other"),
    ],
)
async def test_other_subprotocols_open_nothing(tmp_path: Path, protocols: tuple[str, ...]) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        url = resolved(server.url, a.transports[0].address)
        offered = [protocol.replace("TICKET", a.ticket) for protocol in protocols]
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await one.http.ws_connect(url, protocols=offered)
        assert caught.value.status == 401


# --- origins --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "origins", "status"),
    [
        (None, (), 200),
        ("OWN", (), 200),
        (LAB, (), 403),
        (LAB, (LAB,), 200),
        (LAB + ".evil", (LAB,), 403),
        ("http://lab.example", (LAB,), 403),
        ("null", (LAB,), 403),
        ("https://anyone", ("*",), 200),
    ],
)
async def test_pages_of_other_origins_are_refused(
    tmp_path: Path, origin: str | None, origins: tuple[str, ...], status: int
) -> None:
    async with running(with_origins(tmp_path, *origins)) as server, aiohttp.ClientSession() as http:
        said = server.url if origin == "OWN" else origin
        headers = {} if said is None else {"Origin": said}
        async with http.get(server.url + "/health", headers=headers) as response:
            assert response.status == status
            named = response.headers.get("Access-Control-Allow-Origin")
            assert named == (said if status == 200 else None)
        sio = socketio.AsyncClient(serializer="msgpack", reconnection=False, http_session=http)
        connecting = sio.connect(server.url, transports=["websocket"], headers=headers)
        if status == 200:
            await connecting
            await sio.disconnect()
        else:
            with pytest.raises(socketio.exceptions.ConnectionError):
                await connecting


async def test_a_page_may_upload_after_it_has_asked(tmp_path: Path) -> None:
    async with running(with_origins(tmp_path, LAB)) as server, pair(server.url) as ((one, a), _):
        url = resolved(server.url, a.upload.replace("{episode}", "0"))
        asked = {"Origin": LAB, "Access-Control-Request-Method": "PUT"}
        async with one.http.options(url, headers=asked) as response:
            assert response.status == 204
            assert "PUT" in response.headers["Access-Control-Allow-Methods"]
            assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        async with one.http.options(url, headers={**asked, "Origin": "https://evil.example"}) as response:
            assert response.status == 403
        async with one.http.put(url, data=b"x", headers={"Origin": LAB}) as response:
            assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (401, LAB)


@example("http://[", "[")
@given(st.text(max_size=40) | st.text(max_size=20).map("http://{}".format), st.text(max_size=20))
def test_no_origin_is_allowed_that_is_neither_named_nor_the_servers_own(origin: str, host: str) -> None:
    if allowed(origin, host, (LAB,)):
        assert origin == LAB or (host and f"//{host}" in origin)


# --- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "address", "found"),
    [
        ("http://h:1", "relay", "http://h:1/relay"),
        ("http://h:1/", "/relay", "http://h:1/relay"),
        ("https://lab.example/rollgym", "relay", "https://lab.example/rollgym/relay"),
        ("https://lab.example/rollgym/", "matches/m/{episode}", "https://lab.example/rollgym/matches/m/{episode}"),
        ("http://h:1", "https://other.example/relay", "https://other.example/relay"),
        ("https://h", "//other.example/relay", "https://other.example/relay"),
    ],
)
def test_addresses_are_seen_from_the_servers_url(server: str, address: str, found: str) -> None:
    assert resolved(server, address) == found


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://h/x", "javascript:1", "udp://h:1"])
def test_what_is_no_address_of_a_web_server_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="expected an http or https address"):
        resolved("http://h:1", address)


async def test_a_server_that_knows_its_url_sends_whole_addresses(tmp_path: Path) -> None:
    settings = make_settings(tmp_path).model_copy(update={"public_url": "https://lab.example/rollgym"})
    async with running(settings) as server, Client(server.url) as one, Client(server.url) as two:
        for client in (one, two):
            await client.join()
        a = await one.start()
        assert [(offer.kind, offer.address) for offer in a.transports] == [(RELAY, "https://lab.example/rollgym/relay")]
        assert a.upload == f"https://lab.example/rollgym/matches/{a.match}/episodes/{{episode}}"


# --- signals --------------------------------------------------------------------------------------------------------


async def test_a_signal_reaches_the_other_player_and_nobody_else(tmp_path: Path) -> None:
    async with (
        running(make_settings(tmp_path)) as server,
        pair(server.url) as ((one, a), (two, b)),
        pair(server.url) as ((other, _), _),
    ):
        assert await one.call("signal", {"match": a.match, "player": 1, "data": "offer"}) == {"ok": True}
        assert await two.expect(PeerSignal) == PeerSignal(b.match, 0, "offer")
        assert other.heard.empty()
        for message, code in [
            ({"match": a.match, "player": 0, "data": ""}, "bad_message"),
            ({"match": a.match, "player": 2, "data": ""}, "bad_message"),
            ({"match": "m" + "0" * 24, "player": 1, "data": ""}, "not_in_match"),
            ({"match": a.match, "player": 1, "data": "x" * 16_385}, "bad_message"),
        ]:
            answer: dict[str, Any] = await one.call("signal", message)
            assert answer["error"]["code"] == code


async def test_signals_have_a_bound(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        match = server.server.matches.get(a.match)
        assert match is not None
        match.seats[0].signals = SIGNALS - 1
        message = {"match": a.match, "player": 1, "data": ""}
        assert (await one.call("signal", message))["ok"]
        assert (await one.call("signal", message))["error"]["code"] == "too_many_signals"
