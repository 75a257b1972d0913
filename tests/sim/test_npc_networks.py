"""NPC-01 over the wire: two peers and one NPC under every named network condition, and three ways to get NPCs wrong.

What is right is worked out apart: the players' recorded inputs are played straight through in the game without NPCs, in
which the NPC's policy is asked from outside, once per frame. There is no rollback, no snapshot and no wrapper there.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from rollgym.checking.safety import check
from rollgym.client_sim.network_model import CONDITIONS
from rollgym.client_sim.simulator.result import SimulationResult
from rollgym.client_sim.simulator.scenario import Pause, Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.games.contract import Game, JointInput, Observation, Outcome
from rollgym.games.frame_limit import limited
from rollgym.games.npcs.npc import Npc, NpcGame
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.record.replay import replay
from rollgym.games.registry import make
from rollgym.protocol.episode.export import INPUT_IDLE, INPUT_NPC, Export
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.messages import PlaySettings

FRAMES = 150
FPS = 60
SEED = 11
KITCHEN = {"cooks": 3, "layout": "banquet", "cook_time": 20}
AGENT = 1
"""The NPC sits between the players, so that a player's number is not its agent's."""
POLICIES = {"cook": Npc("cook", {"slip": 20, "pace": 1}, 3), "echo": Npc("echo", {"units": 24}, 3)}


def game_with(npc: Npc) -> Game:
    return make("kitchen", {**KITCHEN, "npcs": {f"cook_{AGENT}": npc}})


def player(game: Game, index: int) -> Policy:
    return make_policy("random_hold", game.spec, index, SEED + index, hold=3)


def play(build: Callable[[], Game], name: str, **scenario: Any) -> SimulationResult:
    values: dict[str, Any] = {"episodes": 2, "fps": FPS, "frame_limit": FRAMES, "input_delay": 1, "max_prediction": 8}
    values.update(scenario.pop("settings", {}))
    return simulate(
        Scenario(PlaySettings(**values), build, (player, player), seed=SEED, link=CONDITIONS[name], **scenario)
    )


def has_to_guess(name: str) -> bool:
    """Whether packets of this condition can take longer than the input delay covers."""
    link = CONDITIONS[name]
    return min(way.latency + way.jitter for way in (link.forward, link.backward)) > 1 / FPS


def straight(export: Export, npc: Npc) -> tuple[list[int], list[list[float]]]:
    """What the NPC did and what everybody was given, when the inputs of an export are played without any peer."""
    game = make("kitchen", KITCHEN)
    policy = make_policy(npc.policy, game.spec, AGENT, npc.seed, **npc.parameters)
    game.reset(export.header.seed)
    policy.reset(export.header.seed)
    columns = [export.canonical.columns[f"actions/cook_{agent}"].array() for agent in range(3)]
    actions, rewards = [], []
    for frame in range(export.header.frames):
        actions.append(policy.act(game.observe()[AGENT], frame))
        joint = [column[frame].tobytes() for column in columns]
        joint[AGENT] = bytes([actions[-1]])
        rewards.append(list(game.step(tuple(joint)).rewards))
    return actions, rewards


def disagreements(result: SimulationResult) -> list[str]:
    """What the peers have not in common. Empty for a match as it should be."""
    found = [f"player {p} found {d}" for p, peer in enumerate(result.players) for d in peer.desyncs]
    one, two = (peer.exports for peer in result.players)
    if {e.header.status for e in (*one, *two)} != {"complete"} or len(one) != len(two):
        found.append(f"not complete: {[e.header.status for e in (*one, *two)]}")
    for mine, theirs in zip(one, two, strict=False):
        differs = compare_episodes((mine.header, mine.canonical), (theirs.header, theirs.canonical))
        if differs is not None:
            found.append(f"episode {mine.header.episode}: {differs}")
    return found


def mistakes(result: SimulationResult, npc: Npc) -> list[str]:
    """:func:`disagreements`, and where the exports are not what the players' inputs give."""
    found = disagreements(result)
    for export in (peer_export for peer in result.players for peer_export in peer.exports):
        place = f"episode {export.header.episode} of player {export.own.player}"
        actions, rewards = straight(export, npc)
        recorded = export.canonical.columns[f"actions/cook_{AGENT}"].array()[:, 0].tolist()
        if recorded != actions:
            frame = next(f for f, (a, b) in enumerate(zip(recorded, actions, strict=True)) if a != b)
            found.append(f"{place}: the NPC did {recorded[frame]} at frame {frame}, not {actions[frame]}")
        if export.canonical.columns["rewards"].array().tolist() != rewards:
            found.append(f"{place}: other rewards")
    return found


def rollbacks(result: SimulationResult) -> list[int]:
    return [sum(export.own.stats["rollbacks"] for export in peer.exports) for peer in result.players]


def assert_really_played(result: SimulationResult) -> None:
    """The inputs were active, the NPC too, and its column says whose it is."""
    for export in result.players[0].exports:
        columns = export.canonical.columns
        assert export.header.frames == FRAMES
        for agent in range(3):
            actions = columns[f"actions/cook_{agent}"].array()
            assert (actions[1:] != actions[:-1]).sum() >= FRAMES // 20, f"cook_{agent} was not active"
        sources = columns["input_source"].array()
        assert (sources[:, AGENT] == INPUT_NPC).all()
        assert not sources[:, [0, 2]].any()
    assert [export.own.player for export in result.players[1].exports] == [1, 1]


@pytest.mark.parametrize("policy", list(POLICIES))
@pytest.mark.parametrize("name", list(CONDITIONS))
def test_npc_01(name: str, policy: str) -> None:
    npc = POLICIES[policy]
    result = play(lambda: game_with(npc), name)
    assert mistakes(result, npc) == []
    assert_really_played(result)
    for peer in result.players:
        for export in peer.exports:
            check_export(export)
            assert export.own.stats["checksums_compared"] > 0
            assert export.own.stats["checksums_matched"] == export.own.stats["checksums_compared"]
    for export in result.players[0].exports:
        audit = replay(export.header, export.canonical, limited(game_with(npc), FRAMES))
        assert compare_episodes((export.header, export.canonical), (export.header, audit)) is None
    if has_to_guess(name):
        assert min(rollbacks(result)) > 0


def test_most_conditions_have_to_guess() -> None:
    assert sum(map(has_to_guess, CONDITIONS)) == 15


@pytest.mark.parametrize("policy", list(POLICIES))
@pytest.mark.parametrize("settings", [{"save_every": 5}, {"max_prediction": 0}, {"input_delay": 0}], ids=str)
def test_npc_01_with_other_settings(policy: str, settings: dict[str, int]) -> None:
    npc = POLICIES[policy]
    result = play(lambda: game_with(npc), "mobile_4g", settings=settings)
    assert mistakes(result, npc) == []
    assert_really_played(result)
    assert (min(rollbacks(result)) > 0) == (settings.get("max_prediction") != 0)


@pytest.mark.parametrize("policy", list(POLICIES))
def test_npc_01_while_a_peer_is_away_and_catches_up(policy: str) -> None:
    npc = POLICIES[policy]
    result = play(lambda: game_with(npc), "wifi_average", pauses=(Pause(0, 0.7, 0.8), Pause(1, 2.0, 1.1)))
    assert mistakes(result, npc) == []
    assert_really_played(result)
    assert min(rollbacks(result)) > 0


@pytest.mark.parametrize("policy", list(POLICIES))
def test_npc_01_over_one_deep_rollback(policy: str) -> None:
    """A peer is away for a second and a half; its partner and the NPC play on, and all of that is done again."""
    npc = POLICIES[policy]
    settings = {"away": "play_on", "away_limit": 5.0, "episodes": 1}
    result = play(lambda: game_with(npc), "lan", settings=settings, pauses=(Pause(1, 0.4, 1.5),))
    assert mistakes(result, npc) == []
    (export,) = result.players[0].exports
    assert export.own.stats["rollback_depth_max"] > 60
    sources = export.canonical.columns["input_source"].array()
    assert (sources[:, AGENT] == INPUT_NPC).all()
    assert (sources[:, 2] == INPUT_IDLE).sum() > 60
    assert not sources[:, 0].any()


# -- NPCs done wrong ---------------------------------------------------------------------------------------------


class Forgetful(NpcGame):
    """What the NPC remembers is not in the snapshot."""

    def load(self, snapshot: Any) -> None:
        inner, frame, seed, _ = snapshot
        now = tuple(policy.memory() for policy in self._recurrent)
        super().load((inner, frame, seed, now))


class Sharing(NpcGame):
    """The NPC draws from a generator that goes on from draw to draw, whatever is rolled back."""

    class _Draws:
        def __init__(self) -> None:
            self._random = random.Random()

        def reset(self, seed: int) -> None:
            self._random.seed(seed)

        def act(self, observation: Observation, frame: int) -> int:
            return self._random.randrange(6)

    def __init__(self, game: Game, npcs: dict[str, Npc]) -> None:
        super().__init__(game, npcs)
        self._drivers[0].policy = Sharing._Draws()


class Reusing(NpcGame):
    """The NPC does again what it did when the frame was first simulated, from a state that was mispredicted."""

    def reset(self, seed: int) -> Any:
        self._did: dict[int, bytes] = {}
        driver = self._drivers[0]
        decide = type(driver).decide

        def once(observation: Observation, frame: int) -> bytes:
            if frame not in self._did:
                self._did[frame] = decide(driver, observation, frame)
            return self._did[frame]

        driver.decide = once  # type: ignore[method-assign]
        return super().reset(seed)


class Fair(NpcGame):
    """Nothing wrong: the control of the experiment."""

    def step(self, inputs: JointInput) -> Outcome:
        return super().step(inputs)


def broken(kind: type[NpcGame], npc: Npc) -> Callable[[], Game]:
    return lambda: kind(make("kitchen", KITCHEN), {f"cook_{AGENT}": npc})


def forgetful() -> Game:
    return broken(Forgetful, POLICIES["echo"])()


def sharing() -> Game:
    return broken(Sharing, POLICIES["cook"])()


def reusing() -> Game:
    return broken(Reusing, POLICIES["cook"])()


def fair() -> Game:
    return broken(Fair, POLICIES["echo"])()


@pytest.mark.parametrize("name", ["forgetful", "sharing", "reusing", "fair"])
def test_rollgym_check_finds_them_before_anybody_plays(name: str) -> None:
    report = check(f"tests.sim.test_npc_networks:{name}", frames=80, elsewhere=False)
    assert report.rollbacks > 0
    rollback = next(found for found in report.checks if found.name.startswith("rollback"))
    assert rollback.ok == (name == "fair")


@pytest.mark.parametrize(
    ("kind", "policy"), [(Forgetful, "echo"), (Sharing, "cook"), (Reusing, "cook"), (Reusing, "echo")]
)
def test_a_broken_npc_is_found(kind: type[NpcGame], policy: str) -> None:
    settings = {"on_desync": "continue", "episodes": 2}
    result = play(broken(kind, POLICIES[policy]), "mobile_4g", settings=settings)
    assert min(rollbacks(result)) > 0
    found = disagreements(result)
    assert any("found DesyncFound" in text for text in found), found
    assert any(text.startswith("episode 0: ") for text in found), found


@pytest.mark.parametrize(
    ("kind", "policy"), [(Forgetful, "echo"), (Sharing, "cook"), (Reusing, "cook"), (Reusing, "echo")]
)
def test_it_is_the_rollbacks_that_show_it(kind: type[NpcGame], policy: str) -> None:
    """The same mistakes are none where nothing is predicted: the test above finds them for the right reason."""
    result = play(broken(kind, POLICIES[policy]), "mobile_4g", settings={"max_prediction": 0})
    assert rollbacks(result) == [0, 0]
    assert disagreements(result) == []
    if kind is not Sharing:  # whose policy is another one
        assert mistakes(result, POLICIES[policy]) == []


def test_the_control_is_fine() -> None:
    result = play(broken(Fair, POLICIES["echo"]), "mobile_4g", settings={"on_desync": "continue"})
    assert min(rollbacks(result)) > 0
    assert mistakes(result, POLICIES["echo"]) == []
