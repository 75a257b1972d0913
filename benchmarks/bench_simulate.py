"""Matches in virtual time: how much faster than real, and how much of the time is the game's own."""

from __future__ import annotations

from typing import Any

from cogrid.envs import registry as cogrid_registry

from benchmarks.matches import scenario
from benchmarks.measuring import Report, at_least, figure, interleaved, main
from client_sim.network import Link, NetworkConditions
from client_sim.simulator import SimulationResult, simulate
from protocol.messages import PlaySettings

ROUND_TRIP = 0.100
"""Seconds, for both games."""


def run(quick: bool) -> Report:
    """Measure."""
    pong_frames, cook_frames, rounds = (200, 30, 1) if quick else (6_000, 300, 4)
    pong, cook = _Match("pong", 60, pong_frames), _Match("overcooked", 30, cook_frames)
    bare = _Bare(cook_frames)
    (pong_seconds,) = interleaved([pong.play], rounds)
    bare_seconds, cook_seconds = interleaved([bare.play, cook.play], rounds)

    speed = pong.seconds / pong_seconds
    per_bare = bare_seconds / cook_frames
    per_simulated = cook_seconds / cook.simulated
    share = per_bare / per_simulated
    return Report(
        "Simulated matches",
        [
            figure("pong", speed, "x real time", at_least(speed, 150), pong.described()),
            figure("pong", pong.frames * 2 / pong_seconds, "peer-frames/s"),
            figure("overcooked", cook.seconds / cook_seconds, "x real time", None, cook.described()),
            figure("overcooked, bare environment", 1 / per_bare, "frames/s", None, "the baseline: env.step"),
            figure("overcooked, both peers", 1 / per_simulated, "frames/s", None, "re-simulated ones included"),
            figure("overcooked, share of bare speed", share, "of bare", at_least(share, 0.6)),
            figure("overcooked", cook.frames * 2 / cook_seconds, "peer-frames/s"),
        ],
        [
            f"{ROUND_TRIP * 1000:.0f} ms round trip, input delay 2, window 8, inputs change every 4 frames, full recording",
            "at both peers, all on one core. The speed counts the match once: two peers play it. The bare environment",
            "builds both observations at every step; a peer builds them where its policy or its record reads them.",
        ],
    )


class _Match:
    """A simulated match between two bots that press something new every 4 frames."""

    def __init__(self, game: str, fps: float, frames: int) -> None:
        settings = PlaySettings(episodes=1, fps=fps, frame_limit=frames, input_delay=2, max_prediction=8)
        parameters: dict[str, Any] = {"points": 99} if game == "pong" else {"max_steps": frames}
        link = Link.both(NetworkConditions(latency=ROUND_TRIP / 2))
        self._scenario = scenario(game, settings, link, parameters=parameters)
        self.result: SimulationResult

    def play(self) -> None:
        self.result = simulate(self._scenario)

    @property
    def stats(self) -> list[dict[str, Any]]:
        one, two = (player.exports[0] for player in self.result.players)
        if one.digest != two.digest or one.header.status != "complete" or one.own.stats["rollbacks"] == 0:
            raise AssertionError(f"no complete, equal episodes with rollbacks: {one.own.stats}")
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
