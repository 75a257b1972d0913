"""The player process: what it records, what it finds where, and how it ends when it has to."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from rollgym.client_sim.exports.spool import Spool
from rollgym.client_sim.player.messages import (
    Begin,
    Ended,
    Exported,
    Happened,
    Outgoing,
    Prepare,
    Ready,
    Stop,
    ToClient,
    pack,
    parse_to_client,
    parse_to_player,
)
from rollgym.client_sim.player.process import LINES_LOGGED, PlayerFailed, PlayerProcess, Printed
from rollgym.protocol.episode.export_body import decode_export
from rollgym.protocol.messages import ONLY_RELAY, MatchStart, PlaySettings
from rollgym.protocol.packets import Hello, encode
from tests.patience import PATIENCE

START = MatchStart("m1", 0, ("a", "b"), 3, PlaySettings(frame_limit=1000), "ticket", ONLY_RELAY, "matches/m1/{episode}")


def plan(folder: Path, **changes: Any) -> Prepare:
    given: dict[str, Any] = {
        "game": "drift",
        "parameters": {},
        "policy": "random_hold",
        "policy_parameters": {},
        "policy_seed": 1,
        "prediction": "repeat_last",
        "network": {},
        "spool": str(folder / "spool"),
        "keep": None,
        "keep_said": {},
    }
    return Prepare(**{**given, **changes})


class Table:
    """A player process, and everything it says."""

    def __init__(self, player: PlayerProcess) -> None:
        self.player = player
        self.said: list[ToClient] = []
        self._news = asyncio.Event()
        player.listen(self._hear, self._news.set)

    def _hear(self, message: ToClient) -> None:
        self.said.append(message)
        self._news.set()

    async def until(self, wanted: Callable[[ToClient], bool]) -> ToClient:
        async with asyncio.timeout(PATIENCE):
            while True:
                for message in self.said:
                    if wanted(message):
                        return message
                assert not self.player.over, self.player.how_it_ended()
                self._news.clear()
                await self._news.wait()

    async def begin(self) -> None:
        """Until it plays: the other player has said hello, and inputs are sent."""
        self.player.send(Begin(START, "http://server", None))
        self.player.packet(1, encode(Hello(0, True)), asyncio.get_running_loop().time())
        await self.until(lambda m: isinstance(m, Happened) and m.kind == "EpisodeStarted")


@asynccontextmanager
async def table(given: Prepare) -> AsyncIterator[Table]:
    player = await PlayerProcess.start(given)
    try:
        await player.ready()
        yield Table(player)
    finally:
        await player.close(PATIENCE)


def exported(folder: Path) -> list[Any]:
    spool = Spool(folder / "spool")
    return [decode_export(zlib.decompress(spool.body(spooled))) for spooled in spool.pending()]


async def test_the_record_has_the_bots_parameters_with_their_defaults(tmp_path: Path) -> None:
    async with table(plan(tmp_path)) as here:
        await here.begin()
        here.player.send(Stop())
        await here.until(lambda message: isinstance(message, Exported))
    (export,) = exported(tmp_path)
    assert export.own.policy["name"] == "random_hold"
    assert export.own.policy["parameters"] == {"hold": 4}


async def test_a_policys_file_is_where_the_command_was_given_though_the_game_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.json").write_text(json.dumps([1, 2, 3]))
    (tmp_path / "wanders.py").write_text(
        "import os, tempfile\nfrom rollgym.games.registry import make as made\n\n"
        "def make():\n    os.chdir(tempfile.gettempdir())\n    return made('drift')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    given = plan(tmp_path, game="wanders:make", policy="scripted", policy_parameters={"path": "script.json"})
    async with table(given) as here:
        await here.begin()
        here.player.send(Stop())
        await here.until(lambda message: isinstance(message, Exported))
    (export,) = exported(tmp_path)
    assert export.own.policy["parameters"]["path"] == "script.json"


async def test_a_games_umask_is_not_that_of_our_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "private.py").write_text(
        "import os\nfrom rollgym.games.registry import make as made\n\n"
        "def make():\n    os.umask(0o777)\n    return made('drift')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with table(plan(tmp_path, game="private:make", keep=str(tmp_path / "keep"))) as here:
        await here.begin()
        here.player.send(Stop())
        await here.until(lambda message: isinstance(message, Ended))
    (kept,) = (tmp_path / "keep").rglob("*.parquet")
    (tmp_path / "ordinary").touch()
    assert kept.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_what_a_game_prints_with_every_frame_does_not_fill_the_log() -> None:
    printed = Printed()
    with capture_logs() as logged:
        for number in range(LINES_LOGGED + 500):
            printed(f"frame {number}")
    assert [entry["event"] for entry in logged[:2]] == ["printed", "printed"]
    assert len(logged) == LINES_LOGGED + 1
    assert logged[-1]["log_level"] == "warning"


async def test_what_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    for changes, said in (
        ({"parameters": {"max_frames": -1}}, "max_frames = -1: expected"),
        ({"policy": "tracker"}, "tracker"),
        ({"prediction": "repeat"}, "prediction = 'repeat': expected one of repeat_last"),
        ({"game": "tests.client.test_player:broken"}, "RuntimeError: no licence (" + __file__),
    ):
        player = await PlayerProcess.start(plan(tmp_path, **changes))
        with pytest.raises(PlayerFailed) as failed:
            await player.ready()
        assert said in str(failed.value)
        assert "\n" not in str(failed.value)
        await player.close(PATIENCE)


def broken() -> None:
    raise RuntimeError("no licence")


async def test_a_player_whose_client_is_gone_stops_and_spools_what_is_canonical(tmp_path: Path) -> None:
    async with table(plan(tmp_path)) as here:
        await here.begin()
        assert list(Spool(tmp_path / "spool").pending()) == []
    (export,) = exported(tmp_path)
    assert export.header.status == "aborted"


async def test_nothing_is_said_of_an_episodes_end_before_its_export_is_on_disk(tmp_path: Path) -> None:
    async with table(plan(tmp_path)) as here:
        await here.begin()
        here.player.send(Stop())
        await here.until(lambda message: isinstance(message, Ended))
    kinds = [type(m).__name__ if not isinstance(m, Happened) else m.kind for m in here.said if type(m) is not Outgoing]
    assert kinds.index("Exported") < kinds.index("EpisodeEnded")
    (told,) = [message for message in here.said if isinstance(message, Exported)]
    assert told.path == str(next(Spool(tmp_path / "spool").pending()).path)


def test_messages_come_back_as_they_were_sent(tmp_path: Path) -> None:
    big = plan(tmp_path, parameters={"whole": 2**100, "nested": [1, {"a": None}]})
    for message in (big, Begin(START, "http://x", 0.5), Stop()):
        assert parse_to_player(pack(message)) == message
    for answer in (Outgoing(1, b"packet"), Happened("PlayerGone", {"player": 1, "reason": "left"})):
        assert parse_to_client(pack(answer)) == answer
    assert Ready.__struct_fields__ == ("game",)
