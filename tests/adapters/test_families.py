"""Each family of environments, driven through the game contract."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rollgym.games.adapters.adapted import AdaptedGame, environment_seed
from rollgym.games.adapters.options import AdapterOptions
from rollgym.games.contract import Outcome
from rollgym.games.errors import GameError, Unsafe
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.registry import make
from tests.adapters.broken import HiddenCHandle, Sound, UnseededStart, WallTime
from tests.adapters.toys import Leaving, Native, Together, Turns, wrapped


def adapt(env: Any, **options: Any) -> AdaptedGame:
    return AdaptedGame(env, game_id="toy", version="1", options=AdapterOptions(**options))


def step(game: AdaptedGame, *actions: Any) -> Outcome:
    return game.step(tuple(codec.encode(action) for codec, action in zip(game.spec.codecs, actions, strict=True)))


# -- gymnasium ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["sequence", "array", "mapping", "info"])
def test_rewards_per_agent_come_in_four_forms(form: str) -> None:
    game = adapt(Together(form))
    game.reset(1)
    assert step(game, 2, -1).rewards == (2.0, -1.0)


def test_a_single_reward_is_the_teams() -> None:
    game = adapt(Together("scalar"))
    game.reset(1)
    assert step(game, 2, 1).rewards == (3.0, 3.0)


def test_spaces_agents_and_defaults_are_the_environments() -> None:
    game = adapt(Together(size=3))
    assert game.spec.agents == ("agent_0", "agent_1", "agent_2")
    assert game.spec.default_actions == (-1, -1, -1)
    assert game.spec.fps == 30
    named = adapt(Sound(), fps=7, idle={"left": 1, "right": 2})
    assert (named.spec.agents, named.spec.default_actions, named.spec.fps) == (("left", "right"), (1, 2), 7)
    assert adapt(Sound()).spec.fps == 20
    assert adapt(Sound(), idle=1).spec.default_actions == (1, 1)


def test_observations_are_made_members_of_their_space() -> None:
    game = adapt(Together())
    game.reset(1)
    for space, seen in zip(game.spec.observation_spaces, game.observe(), strict=True):
        assert space.contains(seen)


def test_infos_are_shared_out_and_plain() -> None:
    game = adapt(Together())
    assert [dict(info) for info in game.reset(1)] == [{"hello": 1}, {"hello": 1}]
    first, second = step(game, 0, 0).infos
    assert sorted(first) == ["all"]
    assert sorted(second) == ["all", "mine"]
    assert game.unrecorded == {"odd (object)"}


def test_ends_per_agent_stay_and_the_last_one_ends_the_episode() -> None:
    game = adapt(Together())
    game.reset(1)
    one = [step(game, 2, 0) for _ in range(4)][-1]
    assert (one.terminated, one.terminal) == ((True, False), False)
    assert step(game, -1, 0).terminated == (True, False)
    both = [step(game, 2, 2) for _ in range(4)][-1]
    assert (both.terminated, both.terminal) == ((True, True), True)


def test_single_agent_spaces_are_refused() -> None:
    class Alone(Sound):
        def __init__(self) -> None:
            super().__init__()
            self.action_space = spaces.Discrete(3)  # type: ignore[assignment]

    with pytest.raises(GameError, match=r"action_space.*one part per agent"):
        adapt(Alone())


def test_wrong_observations_name_the_agent() -> None:
    class Wrong(Sound):
        def _seen(self) -> Any:
            return {"left": np.zeros(3), "right": np.zeros(4)}

    with pytest.raises(GameError, match=r"observation of right.*float64\[4\].*float64\[3\]"):
        adapt(Wrong()).reset(1)


def test_the_wrappers_are_part_of_the_state() -> None:
    game = adapt(wrapped())
    game.reset(1)
    for _ in range(20):
        step(game, 0, 0)
    late = game.save()
    assert any("_elapsed_steps" in path for path in game.state_fields(late))
    for _ in range(3):
        ends = [step(game, 1, 1).truncated for _ in range(5)]
        assert ends == [(False, False)] * 4 + [(True, True)]
        game.load(late)


# -- PettingZoo --------------------------------------------------------------------------------------------------------


def test_parallel_agents_may_leave_and_be_absent() -> None:
    game = adapt(Leaving())
    game.reset(1)
    push = np.array([0.5, 0.0], np.float32)
    assert game.observe()[2] == {"t": 0, "v": pytest.approx([0, 0])}
    first = step(game, push, push, push)
    assert (first.rewards, first.terminated) == ((0.5, 0.5, 0.0), (False, False, False))
    assert not first.terminal
    second = step(game, push, push, push)
    assert second.terminated == (True, False, False)
    third = step(game, push, push, push)
    assert (third.rewards, third.terminated, third.infos[0]) == ((0.0, 0.5, 0.0), (True, False, False), {})
    assert [seen["t"] for seen in game.observe()] == [2, 3, 0]


def test_an_end_without_flags_counts_as_truncated() -> None:
    class Two(Leaving):
        def __init__(self) -> None:
            super().__init__()
            self.possible_agents = ["a", "b"]

    game = adapt(Two())
    game.reset(1)
    push = np.zeros(2, np.float32)
    last = [step(game, push, push) for _ in range(4)][-1]
    assert (last.terminated, last.truncated, last.terminal) == ((True, False), (False, True), True)


def test_who_waits_is_ignored_and_recorded_as_such() -> None:
    game = adapt(Turns())
    game.reset(1)
    first = step(game, 2, 1)
    assert [dict(info) for info in first.infos] == [{}, {"ignored": True}]
    second = step(game, 2, 1)
    assert [dict(info) for info in second.infos] == [{"ignored": True}, {}]
    assert game.observe()[0]["total"].tolist() == [2, 1]
    step(game, 2, 0)
    step(game, 0, 1)
    last = step(game, 1, 2)
    assert (last.rewards, last.terminated, last.terminal) == ((1.0, -1.0), (True, True), True)
    assert game.observe()[1]["total"].tolist() == [5, 2]


def test_a_turn_can_be_let_go_by() -> None:
    game = adapt(Turns(), wait=True)
    assert [space.n for space in game.spec.action_spaces] == [4, 4]  # type: ignore[attr-defined]
    assert game.spec.default_actions == (3, 3)
    game.reset(1)
    for waiting in (3, 0):  # to wait, and what the mask forbids
        passed = step(game, waiting, 1)
        assert (passed.rewards, passed.terminal) == ((0.0, 0.0), False)
        assert [dict(info) for info in passed.infos] == [{"ignored": True}] * 2
        assert game.observe()[0]["total"].tolist() == [0, 0]
    step(game, 2, 1)
    assert game.observe()[0]["total"].tolist() == [2, 0]
    with pytest.raises(GameError, match=r"adapter\.wait"):
        adapt(Leaving(), wait=True)


class Masked(Turns):
    """Says in the infos what is allowed, and nothing of it in the observations."""

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(0, 99, (2,), np.int64)

    def observe(self, agent: str) -> Any:
        return np.array([self.total[a] for a in "xy"])

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        super().reset(seed)
        self.infos[self.agent_selection] = {"action_mask": np.array([0, 1, 1])}

    def step(self, action: Any) -> None:
        super().step(action)
        self.infos = {agent: {} for agent in self.agents}
        if self.agents:
            self.infos[self.agent_selection] = {"action_mask": np.array([0, 0, 1])}


def test_masks_in_infos_are_seen_by_policies() -> None:
    for wait in (False, True):
        game = adapt(Masked(), action_mask=True, wait=wait)
        bots = [make_policy("random_legal", game.spec, player, 5) for player in (0, 1)]
        game.reset(1)
        masks, moves = [], []
        for frame in range(4):
            seen = game.observe()
            masks.append([part["action_mask"].tolist() for part in seen])
            moves.append([int(bot.act(part, frame)) for bot, part in zip(bots, seen, strict=True)])
            step(game, *moves[-1])
        assert masks[:3] == [[[0, 1, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 0]]]
        assert {move[frame % 2] for frame, move in enumerate(moves)} <= {1, 2}
        assert [move[1 - frame % 2] for frame, move in enumerate(moves)] == [3 if wait else 0] * 4
        snapshot = game.save()
        step(game, 2, 2)
        assert game.observe_at(snapshot)[0]["action_mask"].tolist() == [0, 0, 1]
    with pytest.raises(GameError, match="no action_mask of their own"):
        adapt(Turns(), action_mask=True)
    with pytest.raises(GameError, match="Discrete actions"):
        adapt(Leaving(), action_mask=True)
    with pytest.raises(GameError, match=r"moved there by adapter=\{action_mask: true\}"):
        make_policy("random_legal", adapt(Masked()).spec, 0, 5)


# -- state -------------------------------------------------------------------------------------------------------------


def test_native_state_is_used_and_completed() -> None:
    env = Native()
    game = adapt(env)
    assert game.state_method.name == "native"
    game.reset(1)
    snapshots, outcomes = [game.save()], []
    for _ in range(10):
        outcomes.append(step(game, 1, 2))
        snapshots.append(game.save())
    states = [game.state_bytes(s) for s in snapshots]
    game.load(snapshots[3])
    assert env.loads == 1
    assert [step(game, 1, 2) for _ in range(7)] == outcomes[3:]  # np_random, which get_state() leaves out, included
    assert [game.state_bytes(s) for s in snapshots] == states
    assert len(set(states)) == 11
    assert adapt(Native(), snapshot="copy").state_method.name == "copy"
    with pytest.raises(GameError, match="get_state"):
        adapt(Sound(), snapshot="native")


def test_replay_comes_back_exactly_and_ends_at_its_limit() -> None:
    game = adapt(HiddenCHandle(length=1000), snapshot="replay", replay_limit=12)
    game.reset(5)
    snapshots = [game.save()]
    outcomes: list[Outcome] = []
    while not (outcomes and outcomes[-1].terminal):
        outcomes.append(step(game, 2, 1))
        snapshots.append(game.save())
    assert len(outcomes) == 12
    assert outcomes[-1].truncated == (True, True)
    for start in (7, 0, 11, 3):
        game.load(snapshots[start])
        assert [step(game, 2, 1) for _ in range(12 - start)] == outcomes[start:]
        assert [game.state_bytes(game.save())] == [game.state_bytes(snapshots[-1])]
    game.load(snapshots[4])
    step(game, 0, 0)
    assert game.state_bytes(game.save()) != game.state_bytes(snapshots[5])


def test_a_replay_that_diverges_says_so() -> None:
    game = adapt(WallTime(), snapshot="replay")
    game.reset(1)
    step(game, 0, 0)
    middle = game.save()
    step(game, 0, 0)
    with pytest.raises(Unsafe, match="not what was played"):
        game.load(middle)


def test_every_episode_starts_from_the_environment_as_it_was_made() -> None:
    class Remembers(Sound):
        """Episodes are not quite independent: an attribute that no reset touches."""

        episodes = 0
        last: float | None = None

        def step(self, action: Any) -> Any:
            self.episodes += 1
            self.last = self.place[0]
            return super().step(action)

    used, unused = adapt(Remembers()), adapt(Remembers())
    used.reset(1)
    for _ in range(5):
        step(used, 0, 2)
    for game in (used, unused):
        game.reset(9)
        step(game, 1, 1)
    assert used.state_bytes(used.save()) == unused.state_bytes(unused.save())
    one, two = adapt(UnseededStart()), adapt(UnseededStart())
    assert one.state_bytes(one.save()) != two.state_bytes(two.save())


def test_seeds_reach_environments_in_31_bits() -> None:
    assert [environment_seed(seed) for seed in (0, 5, 2**31 - 1)] == [0, 5, 2**31 - 1]
    many = {environment_seed(2**40 * n + 77) for n in range(1, 2000)} | {environment_seed(2**63 - 1)}
    assert len(many) == 2000
    assert max(many) < 2**31


def test_an_emulator_gets_no_seed_of_0_which_means_the_time_of_day() -> None:
    game = make("atari_pong", {"max_steps": 5})
    assert isinstance(game, AdaptedGame)
    for seed, taken in ((0, 2**31 - 1), (3, 3)):
        game.reset(seed)
        assert game.env.unwrapped.ale.getInt(b"random_seed") == taken


def test_rendering_leaves_the_state_alone() -> None:
    class Drawn(Sound):
        render_mode = "rgb_array"

        def render(self) -> Any:
            self.drawings = getattr(self, "drawings", 0) + 1
            return np.full((2, 3, 3), self.t, np.uint8)

    game = adapt(Drawn())
    game.reset(1)
    step(game, 1, 1)
    before = game.state_bytes(game.save())
    picture = game.render()
    assert picture is not None
    assert (picture == 1).all()
    assert game.state_bytes(game.save()) == before
    assert adapt(Sound()).render() is None


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"snapshot": "magic"}, "adapter.snapshot"),
        ({"replay_limit": 0}, "adapter.replay_limit"),
        ({"fps": True}, "adapter.fps"),
        ({"wait": 1}, "adapter.wait"),
        ({"action_mask": 0}, "adapter.action_mask"),
        ({"speed": 1}, "adapter.speed"),
        ([], "adapter"),
    ],
)
def test_options_name_what_is_wrong(options: Any, field: str) -> None:
    with pytest.raises(GameError) as refused:
        AdapterOptions.of(options)
    assert refused.value.field == field


def test_an_idle_action_must_be_one() -> None:
    with pytest.raises(GameError, match=r"adapter\.idle"):
        adapt(Sound(), idle=7)


def test_what_is_no_environment_is_refused() -> None:
    with pytest.raises(GameError, match="a gymnasium Env, a PettingZoo ParallelEnv or an AECEnv"):
        adapt(gymnasium.spaces.Discrete(2))
