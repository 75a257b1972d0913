"""Matches in virtual time: how much faster than real, and how much of the time is the game's own."""

from __future__ import annotations

from typing import Any

from cogrid.envs import registry as cogrid_registry

from benchmarks.matches import scenario
from benchmarks.measuring import Report, at_least, figure, interleaved, main
from rollgym.client_sim.network_model import Link, NetworkConditions
from rollgym.client_sim.simulator.result import SimulationResult
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.protocol.messages import PlaySettings

ROUND_TRIP = 0.100
"""Seconds, for both games."""


NOTES = """
100 ms round trip, window 8, inputs change every 4 frames, full recording at both peers, all on one core. x real time
counts the match once, though two peers play it. frames/s of Overcooked count what both peers simulated, re-simulated
frames included. The bare environment builds both observations at every step; a peer builds them where its policy or
its record reads them.
"""


def run(quick: bool) -> Report:
    """Measure."""
    pong_frames, cook_frames, rounds = (400, 40, 1) if quick else (2_000, 240, 12)
    pongs = [Match("pong", 60, pong_frames, delay) for delay in (2, 0)]
    cooks = [Match("overcooked", 30, cook_frames, delay) for delay in (2, 0)]
    bare = _Bare(cook_frames)
    pong_times = interleaved([pong.play for pong in pongs], rounds)
    bare_time, *cook_times = interleaved([bare.play, *(cook.play for cook in cooks)], max(1, rounds // 3))

    figures = []
    for pong, seconds in zip(pongs, pong_times, strict=True):
        speed, name = pong.seconds / seconds, f"pong, input delay {pong.delay}"
        # The target is for the input delay that is the default.
        target = at_least(speed, 150) if pong.delay == 2 else None
        figures.append(figure(name, speed, "x real time", target, pong.described()))
        figures.append(figure(name, pong.frames * 2 / seconds, "peer-frames/s"))
    per_bare = bare_time / cook_frames
    figures.append(figure("overcooked, bare environment", 1 / per_bare, "frames/s", None, "the baseline: env.step"))
    for cook, seconds in zip(cooks, cook_times, strict=True):
        name, share = f"overcooked, input delay {cook.delay}", per_bare * cook.simulated / seconds
        figures.append(figure(name, cook.simulated / seconds, "frames/s", None, cook.described()))
        figures.append(figure(name, share, "of bare speed", at_least(share, 0.6)))
        figures.append(figure(name, cook.seconds / seconds, "x real time"))
    return Report(
        "Simulated matches",
        figures,
        NOTES,
    )


class Match:
    """A simulated match between two bots that press something new every 4 frames."""

    def __init__(self, game: str, fps: float, frames: int, delay: int) -> None:
        self.delay = delay
        settings = PlaySettings(episodes=1, fps=fps, frame_limit=frames, input_delay=delay, max_prediction=8)
        parameters: dict[str, Any] = {"points": 99} if game == "pong" else {"max_steps": frames}
        link = Link.both(NetworkConditions(latency=ROUND_TRIP / 2))
        self._scenario = scenario(game, settings, link, parameters=parameters)
        self.result: SimulationResult

    def play(self) -> None:
        self.result = simulate(self._scenario)

    @property
    def stats(self) -> list[dict[str, Any]]:
        one, two = (player.exports[0] for player in self.result.players)
        if one.digest != two.digest or one.header.status != "complete":
            raise AssertionError(f"no complete, equal episodes: {one.header}, {two.header}")
        if self.delay == 0 and one.own.stats["rollbacks"] == 0:
            raise AssertionError(f"nothing was rolled back: {one.own.stats}")
        return [one.own.stats, two.own.stats]

    @property
    def seconds(self) -> float:
        return self.frames / self._scenario.settings.fps

    @property
    def frames(self) -> int:
        return int(self.stats[0]["confirmed_frames"])

    @property
    def simulated(self) -> int:
        return sum(stats["frames"] + stats["resimulated_frames"] for stats in self.stats)

    def described(self) -> str:
        return f"{self.frames} frames, {self.simulated / 2 / self.frames - 1:.2f} re-simulated per frame"


class _Bare:
    """cogrid's environment as its users step it, under the same number of frames."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._env = cogrid_registry.make("Overcooked-CrampedRoom-V0", backend="numpy")
        self._env.max_steps = frames
        # The actions of the match: held for 4 frames, drawn by two generators of the same quality.
        self._actions = [{0: (frame // 4 * 5) % 7, 1: (frame // 4 * 3) % 7} for frame in range(frames)]

    def play(self) -> None:
        self._env.reset(seed=1)
        step = self._env.step
        for actions in self._actions:
            step(actions)


if __name__ == "__main__":
    raise SystemExit(main(run))
