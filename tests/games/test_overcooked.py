"""The Overcooked adapter against the bare environment it adapts."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from cogrid.envs import registry as cogrid_registry

from rollgym.games.builtin.overcooked import rules as overcooked
from rollgym.games.builtin.overcooked.rules import Overcooked
from rollgym.games.contract import JointInput
from rollgym.games.errors import GameError
from rollgym.games.registry import make

LAYOUTS = {
    "cramped_room": "Overcooked-CrampedRoom-V0",
    "asymmetric_advantages": "Overcooked-AsymmetricAdvantages-V0",
    "coordination_ring": "Overcooked-CoordinationRing-V0",
    "forced_coordination": "Overcooked-ForcedCoordination-V0",
    "counter_circuit": "Overcooked-CounterCircuit-V0",
}


def random_joint(draw: random.Random) -> tuple[int, int]:
    # Interactions are more likely than chance would have them, so that things happen.
    return tuple(draw.choice([0, 1, 2, 3, 4, 4, 4, 5, 6]) for _ in (0, 1))  # type: ignore[return-value]


def encoded(joint: tuple[int, int]) -> JointInput:
    return tuple(bytes([a]) for a in joint)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_plays_as_the_bare_environment(layout: str) -> None:
    steps = 500 if layout == "cramped_room" else 150
    game = Overcooked(layout=layout, max_steps=steps)
    bare = cogrid_registry.make(LAYOUTS[layout])
    bare.max_steps = steps
    observations, _ = bare.reset(seed=11)
    game.reset(11)
    draw = random.Random(4)
    rewarded = 0
    for frame in range(steps):
        for agent, seen in enumerate(game.observe()):
            np.testing.assert_array_equal(seen, observations[agent])
            assert seen.dtype == observations[agent].dtype
        joint = random_joint(draw)
        observations, rewards, terminateds, truncateds, _ = bare.step(dict(enumerate(joint)))
        outcome = game.step(encoded(joint))
        assert outcome.rewards == (rewards[0], rewards[1])
        assert outcome.terminated == (terminateds[0], terminateds[1])
        assert outcome.truncated == (truncateds[0], truncateds[1])
        assert outcome.terminal == (frame == steps - 1)
        assert game.save().score == bare.cumulative_score
        rewarded += any(outcome.rewards)
    assert rewarded > 0 or layout != "cramped_room"


def fingerprint(snapshot: overcooked.OvercookedSnapshot) -> tuple[Any, ...]:
    arrays = tuple((n, a.dtype.str, a.shape, a.tobytes()) for n, a in overcooked._arrays(snapshot.state))
    return arrays, snapshot.state.rng_key, snapshot.t, snapshot.score, repr(snapshot.rng)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_later_step_writes_to_a_snapshot(layout: str) -> None:
    game = Overcooked(layout=layout)
    game.reset(5)
    draw = random.Random(8)
    kept = []
    for frame in range(400):
        if frame % 5 == 0:
            snapshot = game.save()
            kept.append((snapshot, fingerprint(snapshot)))
        game.step(encoded(random_joint(draw)))
        if frame % 50 == 0:
            game.observe()
    assert len({print_ for _, print_ in kept}) == len(kept)
    for snapshot, print_ in kept:
        assert fingerprint(snapshot) == print_


def test_a_rollback_leads_to_the_same_state_and_outcomes() -> None:
    game = Overcooked()
    game.reset(21)
    draw = random.Random(9)
    inputs = [encoded(random_joint(draw)) for _ in range(300)]
    snapshots, outcomes = [game.save()], []
    for joint in inputs:
        outcomes.append(game.step(joint))
        snapshots.append(game.save())
    straight = [game.state_bytes(s) for s in snapshots]
    assert len(set(straight)) == 301
    for _ in range(60):
        start = draw.randrange(290)
        game.load(snapshots[start])
        # First somewhere else, as a wrong prediction would have it.
        for _ in range(3):
            game.step(encoded(random_joint(draw)))
        game.load(snapshots[start])
        for frame in range(start, start + 8):
            assert game.state_bytes(game.save()) == straight[frame]
            assert game.step(inputs[frame]) == outcomes[frame]


def test_state_bytes_do_not_depend_on_how_the_state_was_reached() -> None:
    game = Overcooked()
    game.reset(3)
    draw = random.Random(2)
    for _ in range(120):
        game.step(encoded(random_joint(draw)))
    reached = game.save()
    # The same state through cogrid's own export and import, which builds every array anew.
    env = game._env
    env._env_state, env.t, env.cumulative_score = reached.state, reached.t, reached.score
    env.set_state(env.get_state())
    rebuilt = overcooked.OvercookedSnapshot(
        env._env_state, env.t, env.cumulative_score, env.np_random.bit_generator.state
    )
    assert rebuilt.state is not reached.state
    # cogrid's import makes an array of the key.
    rebuilt = rebuilt._replace(state=dataclasses.replace(rebuilt.state, rng_key=int(rebuilt.state.rng_key)))
    assert game.state_bytes(rebuilt) == game.state_bytes(reached)


@pytest.mark.parametrize(
    "change", [{"t": 7}, {"score": 1.0}, {"rng": "has_uint32"}, {"rng": "state"}, {"array": "agent_inv"}, {"key": 1}]
)
def test_every_part_of_the_state_is_in_its_bytes(change: dict[str, Any]) -> None:
    game = Overcooked()
    snapshot = game.save()
    if "rng" in change:
        rng: dict[str, Any] = {**snapshot.rng}
        if change["rng"] == "has_uint32":
            rng["has_uint32"] = 1 - rng["has_uint32"]
        else:
            rng["state"] = {**rng["state"], "state": rng["state"]["state"] ^ 1}
        other = snapshot._replace(rng=rng)
    elif "array" in change:
        changed = getattr(snapshot.state, change["array"]).copy()
        changed.flat[0] += 1
        other = snapshot._replace(state=dataclasses.replace(snapshot.state, **{change["array"]: changed}))
    elif "key" in change:
        other = snapshot._replace(state=dataclasses.replace(snapshot.state, rng_key=snapshot.state.rng_key ^ 1))
    else:
        other = snapshot._replace(**change)
    assert game.state_bytes(other) != game.state_bytes(snapshot)
    assert game.digest(other) != game.digest(snapshot)


_PLAY = """
import random, sys
import numpy as np
from rollgym.games.registry import make
random.seed(int(sys.argv[1])); np.random.seed(int(sys.argv[1]))
other = make("overcooked", {"layout": "counter_circuit"}) if sys.argv[1] == "2" else None
game = make("overcooked")
game.reset(2**62 + 5)
draw = random.Random(1)
for frame in range(150):
    game.step(tuple(bytes([draw.choice([0, 1, 2, 3, 4, 4, 6])]) for _ in (0, 1)))
    if other: other.step((b"\\x01", b"\\x04"))
print(game.state_bytes(game.save()).hex(), b"".join(o.tobytes() for o in game.observe()).hex())
"""


def test_processes_agree_whatever_their_hash_seed_and_global_generators() -> None:
    results = set()
    for hash_seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        }
        run = subprocess.run(
            [sys.executable, "-c", _PLAY, hash_seed], capture_output=True, text=True, check=True, env=environment
        )
        results.add(run.stdout)
    assert len(results) == 1
    assert len(results.pop()) > 1000


def test_global_generators_do_not_matter_within_a_process() -> None:
    endings = []
    for noise in (1, 2):
        random.seed(noise)
        np.random.seed(noise)
        game = Overcooked()
        game.reset(77)
        draw = random.Random(6)
        for _ in range(100):
            game.step(encoded(random_joint(draw)))
            np.random.random(noise)
        endings.append(game.state_bytes(game.save()))
    assert endings[0] == endings[1]


def test_seeds_differ_and_a_second_reset_is_as_good_as_the_first() -> None:
    used, fresh = Overcooked(), Overcooked()
    draw = random.Random(3)
    starts = set()
    for seed in (5, 6, 7, 5):
        used.reset(seed)
        starts.add(used.state_bytes(used.save()))
        for _ in range(30):
            used.step(encoded(random_joint(draw)))
    assert len(starts) == 3
    used.reset(5)
    fresh.reset(5)
    assert used.state_bytes(used.save()) == fresh.state_bytes(fresh.save())


def test_drawing_changes_nothing_and_shows_the_loaded_state() -> None:
    game = Overcooked()
    game.reset(5)
    draw = random.Random(10)
    inputs = [encoded(random_joint(draw)) for _ in range(60)]
    early = game.save()
    before = game.render()
    text = game.render_text()
    for joint in inputs:
        game.step(joint)
    late = game.state_bytes(game.save())
    assert not np.array_equal(game.render(), before)
    assert game.state_bytes(game.save()) == late
    game.load(early)
    np.testing.assert_array_equal(game.render(), before)
    assert game.render_text() == text
    for joint in inputs:
        game.step(joint)
    assert game.state_bytes(game.save()) == late
    assert before.shape == (4 * 32, 5 * 32, 3)
    assert before.dtype == np.uint8


def test_the_text_shows_kitchen_cooks_and_pots() -> None:
    game = Overcooked()
    game.reset(5)
    lines = game.render_text().split("\n")
    assert lines[0] == "C C U C C"
    assert sum(line.count(arrow) for line in lines[:4] for arrow in "→↓←↑") == 2
    assert lines[4:] == ["player_0 holds nothing", "player_1 holds nothing", "pot: empty", "frame 0 of 450, score 0"]


def test_what_is_seen_is_a_member_of_the_space_and_belongs_to_the_caller() -> None:
    game = Overcooked()
    first = game.observe()
    for space, seen in zip(game.spec.observation_spaces, first, strict=True):
        assert space.contains(seen)
        seen[:] = -1.0
    assert not np.array_equal(game.observe()[0], first[0])


def test_observations_of_old_states_are_right_whether_or_not_they_are_still_kept() -> None:
    game = Overcooked(max_steps=2000)
    game.reset(4)
    draw = random.Random(12)
    first = game.save()
    known = game.observe()
    for _ in range(overcooked._SEEN_STATES + 20):
        game.step(encoded(random_joint(draw)))
        game.observe()
    assert len(game._seen) == overcooked._SEEN_STATES
    assert id(first.state) not in game._seen
    recent = game.save()
    for snapshot in (first, recent):
        again = game.observe_at(snapshot)
        game._seen.clear()
        for kept, built in zip(again, game.observe_at(snapshot), strict=True):
            np.testing.assert_array_equal(kept, built)
    np.testing.assert_array_equal(known[0], game.observe_at(first)[0])


def test_parameters() -> None:
    assert dict(make("overcooked").spec.parameters) == {"layout": "cramped_room", "max_steps": 450}
    with pytest.raises(GameError, match=r"overcooked\.layout = 'castle': expected one of cramped_room,"):
        make("overcooked", {"layout": "castle"})
    with pytest.raises(GameError, match=r"overcooked\.max_steps = 0"):
        make("overcooked", {"max_steps": 0})


def test_another_cogrid_is_refused_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overcooked, "_PRIVATE", (*overcooked._PRIVATE, "_pipeline_of_tomorrow"))
    with pytest.raises(GameError, match=r"cogrid version = '0\.3\.\d+': .*no _pipeline_of_tomorrow"):
        Overcooked()
