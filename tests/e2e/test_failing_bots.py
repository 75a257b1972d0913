"""One failing bot ends only itself, says why, and what was recorded until then is kept."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from rollgym.client_sim.client.client import BotPlayer
from rollgym.client_sim.network_model import Link, NetworkConditions
from rollgym.running.bots import BotEvent, Client, Finished, run_clients
from rollgym.server.settings import Play
from tests.e2e.failing_bot import AT, WAYS
from tests.e2e.serving import running
from tests.server.clients import make_settings

FRAMES = 90

SAID: dict[str, str | tuple[str, ...]] = {
    "raises": "ZeroDivisionError: the researcher's own (",
    "panics": "tests.e2e.failing_bot.Panic: index out of bounds (",
    "crashes": "the player process is gone: it was ended by SIGSEGV\n  about to touch what is not there",
    "ends the process": "SystemExit: os._exit(3) (",
    "wants to exit": "SystemExit: no licence (",
    # Its partner has the same patience, and may be the one to end the match.
    "hangs": (
        "the game was at work for more than 12 s",
        "the game was at work when the match had to end (",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failing")


async def test_a_bot_that_fails_ends_alone_and_says_why(folder: Path) -> None:
    play = Play(episodes=2, frame_limit=FRAMES, input_delay=1, disconnect_timeout=60.0, start_timeout=12.0, fps=60.0)
    events: dict[int, list[BotEvent]] = defaultdict(list)
    # Each that fails has a partner who does not, and two play that have nothing to do with any of it.
    ways = [way for failing in [*WAYS, ""] for way in (failing, "")]
    clients = [
        Client(f"bot {n}", BotPlayer("drift", "tests.e2e.failing_bot:bot", policy_parameters={"way": way}), n)
        for n, way in enumerate(ways)
    ]
    async with running(make_settings(folder / "data", play=play, upload_grace=0.0)) as server:
        results = await run_clients(
            server.url,
            clients,
            network=Link.both(NetworkConditions(latency=0.02)),
            spool=folder / "spool",
            keep=None,
            said={},
            on_event=lambda index, event: events[index].append(event),
        )
    for way, finished in zip(ways, results, strict=True):
        result = finished.result
        assert finished.error is None
        assert (result.episodes[0].status, result.episodes[0].frames) == ("complete", FRAMES)
        assert 0 in result.stored
        if way:
            check_that_it_says_why(way, finished)
    check_the_others(ways, results)
    assert list((folder / "spool").glob("*.export")) == []


def check_that_it_says_why(way: str, finished: Finished) -> None:
    assert finished.failure is not None, (way, finished.result.episodes)
    assert finished.failure.startswith(SAID[way]), finished.failure
    if way in ("raises", "panics", "ends the process", "wants to exit"):
        assert "/failing_bot.py:" in finished.failure
        # What was canonical is exported, and the server has it.
        assert [e.status for e in finished.result.episodes] == ["complete", "error"]
        assert 0 < finished.result.episodes[1].frames <= AT + 1
        assert finished.result.stored == {0, 1}


def check_the_others(ways: list[str], results: list[Finished]) -> None:
    partners: dict[str | None, list[tuple[str, Finished]]] = defaultdict(list)
    for way, finished in zip(ways, results, strict=True):
        partners[finished.result.match].append((way, finished))
    assert all(len(pair) == 2 for pair in partners.values())
    for pair in partners.values():
        failing = [way for way, _ in pair if way]
        for way, finished in pair:
            if way:
                continue
            result = finished.result
            assert (finished.failure, result.verdicts[0].verdict) == (None, "verified")
            if not failing:
                assert [e.status for e in result.episodes] == ["complete"] * 2
                assert result.verdicts[1].verdict == "verified"
            else:
                assert result.episodes[1].status in ("partner_left", "partner_silent"), failing
