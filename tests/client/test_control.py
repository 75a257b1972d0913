"""The control connection against a small Socket.IO server: refusals are clear, and it notices when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio
from aiohttp import web
from aiohttp.test_utils import TestServer

from rollgym.client_sim.client.control import MAX_BAD, Control, ServerMessage
from rollgym.client_sim.client.control_errors import ConnectionLost, JoinRefused, ServerUnreachable
from rollgym.games.identity import identity
from rollgym.games.registry import make
from rollgym.protocol.messages import (
    ONLY_RELAY,
    ErrorReply,
    MatchOver,
    MatchStart,
    PeerLeft,
    PlaySettings,
    Verdict,
    dump,
)
from rollgym.protocol.version import PROTOCOL_VERSION
from tests.patience import PATIENCE

START = MatchStart("m1", 0, ("a", "b"), 5, PlaySettings(), "ticket", ONLY_RELAY, "matches/m1/episodes/{episode}")


class Lobby:
    """Answers ``join`` as told, and remembers what it was sent."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncServer(async_mode="aiohttp", serializer="msgpack", transports=["websocket"])
        self.heard: list[tuple[str, Any]] = []
        self.answer: Any = {"ok": True, "participant": "bot"}
        self.silent = False
        self.clients: list[str] = []
        self.gone = asyncio.Event()
        self.asked = asyncio.Event()
        self.sio.on("connect", self._connect)
        self.sio.on("disconnect", self._disconnect)
        self.sio.on("*", self._event)
        app = web.Application()
        self.sio.attach(app)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/")).rstrip("/")

    async def _connect(self, client: str, environ: Any, auth: Any = None) -> None:
        self.clients.append(client)

    async def _disconnect(self, client: str, reason: str) -> None:
        self.gone.set()

    async def _event(self, event: str, client: str, payload: Any) -> Any:
        self.heard.append((event, payload))
        self.asked.set()
        if self.silent:
            await asyncio.Event().wait()
        return self.answer

    async def tell(self, event: str, payload: Any) -> None:
        await self.sio.emit(event, payload, to=self.clients[-1])


class Ears:
    """What a control connection reported."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[ServerMessage] = asyncio.Queue()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def next(self) -> ServerMessage:
        async with asyncio.timeout(PATIENCE):
            return await self.messages.get()

    async def why(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await self.lost


@pytest.fixture
async def lobby() -> AsyncIterator[Lobby]:
    lobby = Lobby()
    await lobby.server.start_server()
    yield lobby
    await lobby.sio.shutdown()
    await lobby.server.close()


async def connected(lobby: Lobby, within: float = 5.0) -> tuple[Control, Ears]:
    ears = Ears()
    control = Control(lobby.url, on_message=ears.messages.put_nowait, on_lost=ears.lost.set_result, timeout=within)
    await control.connect()
    return control, ears


async def join(control: Control, participant: str | None = "bot") -> str:
    return await control.join(identity(make("drift").spec), participant, {"python": "3"})


async def test_joining_sends_who_we_are_and_returns_our_name(lobby: Lobby) -> None:
    control, _ = await connected(lobby)
    lobby.answer = {"ok": True, "participant": "bot-7"}
    assert await join(control) == "bot-7"
    ((event, payload),) = lobby.heard
    assert event == "join"
    assert payload["protocol"] == PROTOCOL_VERSION
    assert payload["game"]["id"] == "drift"
    assert payload["participant"] == "bot"
    await control.finished(3)
    await control.leave("enough", within=5.0)
    assert lobby.heard[1:] == [("finished", {"episodes": 3}), ("leave", {"reason": "enough"})]
    await control.close()


async def test_every_message_of_the_server_arrives_as_its_type_and_in_order(lobby: Lobby) -> None:
    control, ears = await connected(lobby)
    sent = {
        "match_start": START,
        "peer_left": PeerLeft("m1", 1, "gone"),
        "verdict": Verdict("m1", 0, "verified"),
        "match_over": MatchOver("m1", "complete"),
        "error": ErrorReply("oops", "something", "field", 1, "2"),
    }
    for name, message in sent.items():
        await lobby.tell(name, dump(message))
    assert [await ears.next() for _ in sent] == list(sent.values())
    await control.close()
    assert not ears.lost.done()  # we closed it


async def test_a_refusal_names_the_field_and_both_values(lobby: Lobby) -> None:
    control, _ = await connected(lobby)
    reply = ErrorReply("game_mismatch", "this server plays something else", "game.version", "2", "1")
    lobby.answer = {"ok": False, "error": dump(reply)}
    with pytest.raises(JoinRefused, match=r"game_mismatch.*game\.version: '1', expected '2'") as refused:
        await join(control)
    assert (refused.value.code, refused.value.field) == ("game_mismatch", "game.version")
    assert (refused.value.expected, refused.value.actual) == ("2", "1")
    await control.close()


@pytest.mark.parametrize("answer", [None, 7, {}, {"ok": True}, {"ok": True, "participant": 3}, {"ok": False}])
async def test_an_answer_that_makes_no_sense_is_a_refusal(lobby: Lobby, answer: Any) -> None:
    control, _ = await connected(lobby)
    lobby.answer = answer
    with pytest.raises(JoinRefused) as refused:
        await join(control)
    assert refused.value.code == "bad_answer"
    await control.close()


async def test_messages_that_make_no_sense_are_counted_and_others_get_through(lobby: Lobby) -> None:
    control, ears = await connected(lobby)
    bad: list[Any] = [None, 1, [], {}, {"match": 1}, {**dump(START), "more": 1}, {**dump(START), "player": -1}]
    for payload in bad:
        await lobby.tell("match_start", payload)
    await lobby.sio.emit("match_start", (dump(START), "two"), to=lobby.clients[-1])
    await lobby.tell("unknown_event", {})
    await lobby.tell("match_start", dump(START))
    assert await ears.next() == START
    assert ears.messages.empty()
    assert not control.lost
    await control.close()


async def test_a_server_that_only_talks_nonsense_is_given_up(lobby: Lobby) -> None:
    control, ears = await connected(lobby)
    for _ in range(MAX_BAD):
        await lobby.tell("verdict", "nonsense")
    assert await ears.why() == f"{MAX_BAD} messages that are none of the protocol"
    with pytest.raises(ConnectionLost):
        await join(control)
    await control.close()


async def test_a_connection_that_ends_is_reported_and_every_later_call_says_so(lobby: Lobby) -> None:
    control, ears = await connected(lobby)
    await join(control)
    await lobby.sio.disconnect(lobby.clients[-1])
    await ears.why()
    assert control.lost
    with pytest.raises(ConnectionLost):
        await control.finished(1)
    with pytest.raises(ConnectionLost):
        control.check()
    await control.leave("no matter", within=1.0)  # raises nothing
    await control.close()


async def test_a_connection_that_ends_while_waiting_for_an_answer_ends_the_wait(lobby: Lobby) -> None:
    control, _ = await connected(lobby, within=600.0)
    lobby.silent = True
    joining = asyncio.ensure_future(join(control))
    async with asyncio.timeout(PATIENCE):
        await lobby.asked.wait()
        await lobby.sio.disconnect(lobby.clients[-1])
        with pytest.raises(ConnectionLost):
            await joining
    await control.close()


async def test_a_server_that_never_answers_is_given_up(lobby: Lobby) -> None:
    control, _ = await connected(lobby)
    control._timeout = 0.05
    lobby.silent = True
    with pytest.raises(ConnectionLost, match=r"join was not acknowledged within 0\.05 s"):
        await join(control)
    await control.close()


async def test_nobody_there_and_nobody_of_ours_there(lobby: Lobby, unused_tcp_port: int) -> None:
    async def refused(url: str, within: float = 5.0) -> str:
        control = Control(url, on_message=lambda _: None, on_lost=lambda _: None, timeout=within)
        try:
            with pytest.raises(ServerUnreachable) as error:
                await control.connect()
            return str(error.value)
        finally:
            await control.close()

    nobody = f"http://127.0.0.1:{unused_tcp_port}"
    assert await refused(nobody) == f"no server at {nobody}: Connection refused"

    plain = TestServer(web.Application())  # a web server without Socket.IO
    await plain.start_server()
    assert "404" in await refused(str(plain.make_url("/")))
    await plain.close()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    assert "no answer within 0.1 s" in await refused(f"http://127.0.0.1:{port}", within=0.1)
    silent.close()
    await silent.wait_closed()


async def test_closing_tells_the_server(lobby: Lobby) -> None:
    control, ears = await connected(lobby)
    await control.close()
    async with asyncio.timeout(PATIENCE):
        await lobby.gone.wait()
    assert not ears.lost.done()
