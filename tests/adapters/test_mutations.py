"""Each promise of the adapters has a test that notices when the code no longer keeps it: one fault at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium import spaces

import rollgym.games.adapters.adapted
import rollgym.games.adapters.infos
import rollgym.games.adapters.parallel_env
import rollgym.games.adapters.rewards
import rollgym.games.counter_rng
import rollgym.games.record.columns
import rollgym.games.spaces.exact
from rollgym.games.adapters.adapted import AdaptedGame
from rollgym.games.adapters.aec_env import AecFamily
from rollgym.games.adapters.family import ABSENT, Resetting
from rollgym.games.adapters.gymnasium_env import GymnasiumFamily
from rollgym.games.adapters.masks import Masks
from rollgym.games.adapters.parallel_env import ParallelFamily
from rollgym.games.errors import GameError
from rollgym.games.spaces.exact import Converted
from rollgym.protocol.episode.column import Column
from tests.adapters import test_ends, test_exact_values, test_families, test_generated_envs, test_infos, test_names
from tests.games import test_actions, test_columns

Patch = pytest.MonkeyPatch
NOTICED = (AssertionError, pytest.fail.Exception, GameError, ExceptionGroup)


class Mutation(NamedTuple):
    """A fault, and the test that must fail with it."""

    name: str
    owner: Any
    attribute: str
    fault: Any
    victim: Callable[[], object]


def nothing_changed(given: Any, made: Any, rounding: Any) -> tuple[Any, bool]:
    return np.zeros(given.shape, np.bool_), False


def overflow_is_rounding(given: Any, made: Any, rounding: Any) -> tuple[Any, bool]:
    if made.dtype in rounding:
        return np.zeros(given.shape, np.bool_), True
    return changed(given, made, rounding)


changed = rollgym.games.spaces.exact._changed


def as_numpy_does(name: str, given: Any, dtype: Any, rounding: Any) -> Converted:
    """The list as one array, of the type that numpy chooses."""
    with np.errstate(all="ignore"):
        return Converted(np.array(given.tolist()).astype(dtype), False)


def once_out_always_out(what: str, agents: Any, before: Any, now: Any) -> tuple[bool, ...]:
    return tuple(old or (new is not ABSENT and bool(new)) for old, new in zip(before, now, strict=True))


def mappings_only(info: Any, keys: Any, agents: Any, unrecorded: set[str]) -> list[Any]:
    given = info if isinstance(info, dict) else {}
    common = {key: value for key, value in given.items() if key not in keys}
    own = [given.get(key) for key in keys]
    return [{**common, **(part if isinstance(part, dict) else {})} or None for part in own]


def never_named(info: Any, unrecorded: set[str]) -> Any:
    return plain(info, set())


plain = rollgym.games.adapters.infos.plain_info


def a_name_for_a_key(family: Any, env: Any, *options: Any) -> None:
    gymnasium_init(family, env, *options)
    family.keys = family.agents


gymnasium_init = GymnasiumFamily.__init__


def without_options(self: Resetting, env: Any, seed: int) -> Any:
    return env.reset(seed=seed)


def one_span(low: float, high: float, share: float) -> float:
    return low + share * (high - low)


def numpys_columns(self: Any, name: str, rows: Any, kind: type) -> Any:
    return Column.of(np.array(rows, dtype=kind).reshape(len(rows), 2))


def any_agent(env: Any, keys: Any) -> None:
    return None


def the_old_mask(masks: Masks, index: int, info: Any) -> Any:
    return np.ones(masks._sizes[index], np.int8)


def strict_text(keys: Any, field: str) -> tuple[str, ...]:
    return tuple(map(str, keys))


def flags(name: str, value: Any) -> bool:
    return bool(value)


EXACT = rollgym.games.spaces.exact
ADAPTED = rollgym.games.adapters.adapted
parallel_step = ParallelFamily.step


def too_large() -> None:
    box = spaces.Box(-9, 9, (1,), np.float32)
    test_exact_values.test_the_error_names_agent_path_value_and_type(box, np.array([1e39]), "= 1e")


def generated() -> None:
    """One plan of the property: an agent is away for a step, and there are infos."""
    looks, moves = spaces.Box(0, 9, (2,), np.uint8), spaces.Discrete(3)
    away = [None, 0, 0, None, None]
    given: list[Any] = [{"x": 1, "y": "z"}]
    plan = test_generated_envs.Plan(("a", 1), (moves,) * 2, (looks,) * 2, [0.5, 2], given, away, 5, "parallel", True)
    test_generated_envs.played_and_compared(plan)


nothing_dropped = test_infos.test_nothing_is_dropped_without_a_word
refused_names = test_names.test_what_no_record_can_hold_is_refused_when_the_game_is_made
numbers = test_exact_values.test_numbers_stay_or_are_refused_without_rounding
recorded = test_exact_values.test_what_is_recorded_is_what_was_returned_or_an_error
MUTATIONS: list[Mutation] = [
    Mutation("numbers are cast", EXACT, "_changed", nothing_changed, numbers),
    Mutation("numbers are cast, seen in the record", EXACT, "_changed", nothing_changed, recorded),
    Mutation("a list is of the type that numpy chooses", EXACT, "_each", as_numpy_does, numbers),
    Mutation("infinity is a rounded number", EXACT, "_changed", overflow_is_rounding, too_large),
    Mutation(
        "an end is what Python takes for true",
        ADAPTED,
        "exact_flag",
        flags,
        lambda: test_exact_values.test_an_end_that_is_neither_is_an_error(2),
    ),
    Mutation(
        "who was out stays out",
        ADAPTED,
        "_flags",
        once_out_always_out,
        test_ends.test_a_parallel_episode_ends_when_the_environment_has_ended,
    ),
    Mutation(
        "the end is when everybody was out",
        AdaptedGame,
        "_is_over",
        lambda game, there: all(game._terminated),
        test_ends.test_a_parallel_episode_ends_when_the_environment_has_ended,
    ),
    Mutation(
        "agents that nobody announced are passed over",
        rollgym.games.adapters.parallel_env,
        "check_agents",
        any_agent,
        lambda: test_ends.test_agents_that_were_not_announced_are_an_error("reset"),
    ),
    Mutation(
        "whoever is over is waited for", AecFamily, "_take_leave", lambda family: None,
        test_ends.test_an_agent_that_does_not_leave_is_an_error_and_no_endless_loop,
    ),
    Mutation(
        "an info that is no mapping is nothing",
        test_infos,
        "shared_out",
        mappings_only,
        lambda: test_infos.test_infos_are_shared_out({"ada": 2.0, 1: -2.0}, {"value": 2.0}, {"value": -2.0}),
    ),
    Mutation("what is left out has no name", test_infos, "plain_info", never_named, nothing_dropped),
    Mutation(
        "a key of an info is lost on the way to the record",
        ADAPTED,
        "plain_info",
        lambda info, unrecorded: dict(list(plain(info, unrecorded).items())[1:]),
        generated,
    ),
    Mutation(
        "the last reward is given again to who is away",
        rollgym.games.adapters.rewards.Rewards,
        "read",
        lambda rewards, given, infos, unrecorded: tuple(float(reward or 1.5) for reward in given),
        generated,
    ),
    Mutation(
        "agents are asked for by their names",
        GymnasiumFamily,
        "__init__",
        a_name_for_a_key,
        test_names.test_agents_that_are_numbers_are_named_by_them,
    ),
    Mutation(
        "two agents of one name",
        rollgym.games.adapters.gymnasium_env,
        "names_of",
        strict_text,
        lambda: refused_names((0, "0"), "x", "there 2 times"),
    ),
    Mutation(
        "options are declared in vain",
        Resetting,
        "__call__",
        without_options,
        test_names.test_resets_get_the_options_that_are_declared,
    ),
    Mutation(
        "any info's rewards are the rewards",
        GymnasiumFamily,
        "_are_rewards",
        lambda family, given: given is not None,
        test_infos.test_components_of_a_reward_are_an_info,
    ),
    Mutation(
        "every action is allowed", Masks, "_mask", the_old_mask, test_families.test_masks_in_infos_are_seen_by_policies
    ),
    Mutation(
        "a span is a float",
        rollgym.games.counter_rng,
        "_between",
        one_span,
        test_actions.test_draws_differ_where_they_can,
    ),
    Mutation(
        "numpy makes rewards of anything",
        rollgym.games.record.columns.CanonicalBuilder,
        "_per_agent",
        numpys_columns,
        lambda: test_columns.test_what_would_become_something_else_is_an_error({"rewards": (0.0, None)}, "NoneType"),
    ),
    Mutation(
        "agents that left are still there",
        ParallelFamily,
        "step",
        lambda family, actions: parallel_step(family, actions)._replace(there=[True] * len(family.keys)),
        test_ends.test_who_never_came_does_not_keep_the_episode_open,
    ),
]  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_fault_is_noticed(mutation: Mutation, monkeypatch: Patch) -> None:
    monkeypatch.setattr(mutation.owner, mutation.attribute, mutation.fault)
    with pytest.raises(NOTICED):
        mutation.victim()
