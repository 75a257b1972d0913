"""What is known of a game before it is played, and that finding it out disturbs nobody."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from rollgym.games import description
from rollgym.games.description import Driver, describe, described, described_blocking
from rollgym.games.errors import GameError, Unsafe
from rollgym.games.identity import identity
from rollgym.games.registry import make
from rollgym.processes.parent import Child

RUDE = """
import asyncio, os, random, signal, sys, threading, time, warnings
from pathlib import Path
import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

class Env(ParallelEnv):
    metadata = {"name": "rude", "render_fps": 20}
    possible_agents = ["a", "b"]
    def __init__(self, what="print"):
        getattr(self, what)()
    def print(self):
        os.write(1, b"out\\nno newline")
        print("err", file=sys.stderr)
        warnings.warn("old-fashioned")
    def globals(self):
        os.chdir("/")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        random.seed(1)
        np.seterr(all="raise")
        os.closerange(3, 20)
    def loop(self):
        async def nothing(): pass
        asyncio.run(nothing())
        assert threading.current_thread() is threading.main_thread()
    def raises(self):
        raise RuntimeError("no map")
    def dies(self):
        print("last words")
        os.kill(os.getpid(), signal.SIGSEGV)
    def exits(self):
        raise SystemExit(3)
    def hangs(self):
        print("thinking")
        time.sleep(3600)
    def stays(self):
        threading.Thread(target=time.sleep, args=(3600,)).start()
    def observation_space(self, agent):
        return spaces.Dict({"map": spaces.Box(0, 255, (4, 5), np.uint8), "n": spaces.Discrete(3)})
    def action_space(self, agent):
        return spaces.Discrete(300 if agent == "a" else 2)
    def reset(self, seed=None, options=None): ...
    def step(self, actions): ...
"""


@pytest.fixture
def rude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with a module of somebody else, as the current one."""
    (tmp_path / "rude_env.py").write_text(RUDE)
    monkeypatch.chdir(tmp_path)
    return "rude_env:Env"


@pytest.mark.parametrize(("game", "parameters"), [("pong", {"points": 2}), ("kitchen", {"npcs": {"cook_0": "cook"}})])
def test_a_description_says_what_the_game_says(game: str, parameters: dict[str, object]) -> None:
    spec = make(game, parameters).spec
    found = describe(game, parameters)
    assert (found.game, found.fps, found.players) == (identity(spec), spec.fps, spec.players)
    assert found.action_bytes == (1,) * spec.players
    assert found.max_frames == spec.max_frames


async def test_the_bytes_of_a_frame_follow_from_the_spaces(rude: str) -> None:
    found = await described(rude, {"what": "loop"})
    assert found.action_bytes == (2, 1)
    assert found.observation_bytes == (28, 28)
    assert found.row_bytes == 59
    assert found.fps == 20
    assert found.max_frames is None


@pytest.mark.parametrize("what", ["print", "globals", "loop", "stays"])
async def test_whatever_a_constructor_does_this_process_stays_as_it_was(
    rude: str, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = Path.cwd(), signal.getsignal(signal.SIGTERM), np.geterr()
    heard: list[str] = []
    found = await described(rude, {"what": what}, on_output=heard.append)
    assert found.game.agents == ("a", "b")
    assert (Path.cwd(), signal.getsignal(signal.SIGTERM), np.geterr()) == before
    assert "rude_env" not in sys.modules
    assert capfd.readouterr() == ("", "")
    if what == "print":
        assert heard == ["out", "no newlineerr"]
        assert found.warnings == ("UserWarning: old-fashioned",)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("raises", r"game = 'rude_env:Env': expected a game that can be made \(RuntimeError in .*rude_env\.py:\d+: no"),
        ("dies", r"game that can be made \(its process died: it was ended by SIGSEGV\)"),
        ("exits", r"game that can be made \(its process died: it ended with code 3\)"),
        ("nothing_of_that_name", r"AttributeError"),
    ],
)
async def test_what_a_constructor_raises_or_dies_of_is_an_error_of_the_game(rude: str, what: str, text: str) -> None:
    with pytest.raises(GameError, match=text) as caught:
        await described(rude, {"what": what})
    if what == "dies":
        assert "last words" in caught.value.__notes__[0]


async def test_a_constructor_that_never_returns_is_given_up(rude: str, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = asyncio.Event()
    started = Child.start

    async def start(target: str, **options: object) -> Child:
        child = await started(target, **options)  # type: ignore[arg-type]
        receive = child.receive

        async def hear() -> bytes | None:
            await printed.wait()  # the clock of this test: the game has come to where it hangs
            return await asyncio.wait_for(receive(), 0.01)  # not a wait: the deadline itself, in a short form

        monkeypatch.setattr(child, "receive", hear)
        return child

    monkeypatch.setattr(Child, "start", start)
    with pytest.raises(GameError, match=r"after 60 s it was not made") as caught:
        await described(rude, {"what": "hangs"}, deadline=60, on_output=lambda line: printed.set())
    assert "thinking" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("game", "parameters"),
    [
        ("nowhere:make", {}),
        ("rude_env:nothing", {}),
        ("rude_env:Env", {"how": 1}),
        ("rude_env:Env", {"adapter": {"fps": -1}}),
        ("rude_env:Env", {"npcs": {"c": "random"}}),
        ("pong", {"points": "many"}),
        ("pnog", {}),
    ],
)
def test_a_refusal_reads_the_same_as_in_one_process(rude: str, game: str, parameters: dict[str, object]) -> None:
    given = {"what": "loop", **parameters} if game == rude else parameters
    with pytest.raises(GameError) as away:
        described_blocking(game, given)
    path = sys.path.copy()
    try:
        with pytest.raises(GameError) as here:
            describe(game, given)
    finally:
        sys.path[:] = path
        sys.modules.pop("rude_env", None)
    assert str(away.value) == str(here.value)
    assert (away.value.field, away.value.expected) == (here.value.field, here.value.expected)


def test_an_unsafe_part_is_named_with_the_same_words() -> None:
    error = Unsafe("env.unwrapped._sim", "a ctypes pointer", "plain data")
    again = description.Refusal.of(error).error()
    assert isinstance(again, Unsafe)
    assert str(again) == str(error)


def test_policies_are_tried_where_the_game_is(rude: str) -> None:
    drivers = [Driver("random"), Driver("tracker"), Driver("nowhere:bot")]
    found = described_blocking(rude, {"what": "loop"}, drivers)
    assert set(found.refused) == {1}
    assert "tracker" in str(found.refused[1].error())
    assert "rude_env" not in sys.modules


def test_a_game_of_our_own_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Child, "start", None)
    assert described_blocking("drift").game.id == "drift"
    with pytest.raises(TypeError):
        described_blocking("drift", {}, [Driver("somebody:bot")])
