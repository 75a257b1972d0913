"""Whatever a game does for longer than the network may be silent, the match is played and verified."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from rollgym.client_sim.client.client import BotPlayer, play
from rollgym.client_sim.client.results import ClientEvent, Joined, PlayResult, Progress
from rollgym.client_sim.network_model import Link, NetworkConditions
from rollgym.server.settings import GameSettings, Play
from tests.e2e.serving import running
from tests.e2e.slow_game import CALLS
from tests.patience import PATIENCE
from tests.server.clients import make_settings

SILENCE = 3.0
"""Seconds without a sign of life after which a player is out: short, so that the slow calls need not be longer."""

SLOW = 2 * SILENCE
"""Seconds that one call takes."""

FRAMES = 90

FAR = Link.both(NetworkConditions(latency=0.06))
"""Far enough apart that there are rollbacks."""


class Bot:
    """One client. It makes its game at once, and joins after the one before."""

    def __init__(self, url: str, folder: Path, slow: str, before: Bot | None) -> None:
        self._url = url
        self._folder = folder
        self._slow = slow
        self._before = before
        self.joined = asyncio.Event()

    async def play(self) -> PlayResult:
        bot = BotPlayer(
            "tests.e2e.slow_game:game",
            "tests.e2e.slow_game:bot",
            policy_parameters={"slow": self._slow, "seconds": SLOW},
        )
        async with asyncio.timeout(PATIENCE):
            return await play(self._turn, bot, spool=self._folder, network=FAR, on_event=self._hear)

    async def _turn(self) -> str:
        if self._before is not None:
            await self._before.joined.wait()
        return self._url

    def _hear(self, event: ClientEvent) -> None:
        if isinstance(event, Joined):
            self.joined.set()


async def test_a_game_at_work_is_interrupted_when_the_match_has_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollgym.client_sim.client.match.KILL_AFTER", PATIENCE)  # the interruption has to be enough
    stop, waits = asyncio.Event(), asyncio.Event()

    def hear(event: ClientEvent) -> None:
        if isinstance(event, Progress) and event.stats["peer"].get("stalls", 0) > 0:
            waits.set()  # for the input of frame 20, which the other's bot will never decide

    quick = BotPlayer(
        "tests.e2e.slow_game:game", "tests.e2e.slow_game:bot", policy_parameters={"slow": "", "seconds": 0.0}
    )
    slow = dataclasses.replace(quick, policy_parameters={"slow": "act", "seconds": 10 * PATIENCE})
    play_settings = Play(frame_limit=FRAMES, input_delay=1, start_timeout=PATIENCE, fps=60.0)
    game = GameSettings(id="tests.e2e.slow_game:game")
    async with running(make_settings(tmp_path / "data", play=play_settings, game=game)) as server:
        playing = [
            asyncio.create_task(
                play(server.url, bot, spool=tmp_path / name, stop=stop, on_event=hear, progress_every=0.05)
            )
            for name, bot in (("slow", slow), ("quick", quick))
        ]
        async with asyncio.timeout(PATIENCE):
            await waits.wait()
            stop.set()
            results = await asyncio.gather(*playing)
    for result in results:
        assert (result.stopped, result.failure) == (True, None)
        (episode,) = result.episodes
        assert episode.status in ("aborted", "error", "partner_left")
        assert 0 < episode.frames <= 25


@pytest.mark.parametrize("both", [False, True], ids=["one peer", "both peers"])
async def test_no_call_of_the_game_or_the_bot_ends_a_match(tmp_path: Path, both: bool) -> None:
    experiment = Play(
        episodes=2, frame_limit=FRAMES, input_delay=1, disconnect_timeout=SILENCE, start_timeout=PATIENCE, fps=60.0
    )
    game = GameSettings(id="tests.e2e.slow_game:game")
    settings = make_settings(tmp_path / "data", play=experiment, game=game)
    async with running(settings.model_copy(update={"ping_interval": 1, "ping_timeout": SILENCE / 2})) as server:
        bots: list[Bot] = []
        for call in CALLS:
            for player in (0, 1):
                slow = call if both or player == 0 else ""
                bots.append(Bot(server.url, tmp_path / f"{call} {player}", slow, bots[-1] if bots else None))
        results = await asyncio.gather(*[bot.play() for bot in bots])
    for call, pair in zip(CALLS, zip(results[::2], results[1::2], strict=True), strict=True):
        assert pair[0].match == pair[1].match
        for result in pair:
            assert (result.failure, result.lost) == (None, None), call
            assert [(e.status, e.frames) for e in result.episodes] == [("complete", FRAMES)] * 2, call
            assert [v.verdict for _, v in sorted(result.verdicts.items())] == ["verified"] * 2, call
            assert result.stats["transport"]["received"] > FRAMES
    # They were slow indeed, and somebody spoke for them meanwhile.
    kept_alive = {call: results[2 * index].stats["transport"]["kept_alive"] for index, call in enumerate(CALLS)}
    assert min(kept_alive.values()) > 0, kept_alive
