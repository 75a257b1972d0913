"""Whatever ``check`` calls safe is played to the end and verified; what is not safe it calls so."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rollgym.checking.safety import check
from rollgym.client_sim.network_model import link
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.games.contract import Game
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.registry import make
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.messages import PlaySettings
from rollgym.server.record.verdicts import find
from tests.adapters.mixed import BROKEN, LENGTH, SOUND

GAME = "tests.adapters.mixed:make"
traits = st.lists(st.sampled_from(sorted(SOUND)), unique=True, max_size=len(SOUND))
wrong = st.lists(st.sampled_from(sorted(BROKEN)), unique=True, max_size=1)


@given(traits, wrong, st.integers(0, 2**31))
@example(sorted(SOUND), [], 0)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_safe_is_played_and_verified(sound: list[str], broken: list[str], seed: int) -> None:
    parameters = {"traits": sound + broken}
    report = check(GAME, parameters, frames=LENGTH + 5, seed=seed % 1000, elsewhere=False)
    assert report.verdict == ("not safe" if broken else "safe"), report.findings
    if report.ok:
        assert report.rollbacks > LENGTH
        play(parameters, seed)


def play(parameters: dict[str, Any], seed: int) -> None:
    def game() -> Game:
        return make(GAME, parameters)

    def policy(mine: Game, player: int) -> Policy:
        return make_policy("random", mine.spec, player, seed % 97 + player)

    play_settings = PlaySettings(episodes=2, fps=20.0, input_delay=0, max_prediction=8)
    result = simulate(Scenario(play_settings, game, [policy, policy], seed=seed % 89, link=link("constant_100")))
    first, second = (player.exports for player in result.players)
    assert len(first) == len(second) == 2
    judge = game()
    for one, two in zip(first, second, strict=True):
        check_export(one)
        assert one.header.frames == LENGTH
        assert compare_episodes((one.header, one.canonical), (two.header, two.canonical)) is None
        assert find([one, two], 2, judge).verdict == "verified"
    judge.close()
    assert sum(export.own.stats["rollbacks"] for export in (*first, *second)) > 0
