"""A game or a policy that raises, anywhere: its exception, the canonical prefix, and a partner that loses nothing."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollgym.client_sim.network_model import CONDITIONS
from rollgym.client_sim.peer.episode import Episode
from rollgym.client_sim.peer.episode_state import State
from rollgym.client_sim.peer.events import EpisodeEnded, EpisodeStarted, MatchEnded, PlayerGone
from rollgym.client_sim.rollback.session import Session
from rollgym.client_sim.simulator.result import PlayerResult
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import Simulator
from rollgym.games.contract import Game, JointInput, Observation, Outcome
from rollgym.games.frame_limit import limited
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.record.replay import replay
from rollgym.games.registry import make
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.messages import PlaySettings
from tests.rollback.toy import Toy, ToyPolicy


class Boom(Exception):
    """What the researcher's own code raises."""


CALLS = {"reset": 2, "step": 140, "save": 75, "load": 30, "observe": 100, "observe_at": 4, "state_bytes": 34}
"""A game's methods, and how often each is called at least in two episodes of :func:`toy_scenario`."""


class Explosive(Game):
    """A game that raises at the ``at``-th call (from 0) of one of its methods, before or after having done it."""

    def __init__(self, game: Game, method: str, at: int, *, done: bool, error: BaseException | None = None) -> None:
        self.game = game
        self.spec = game.spec
        self.method = method
        self.at = at
        self.done = done
        self.error = error
        self.fuse = 0
        self.exploded = False

    def _do(self, name: str, act: Callable[[], Any]) -> Any:
        if self.exploded:
            raise AssertionError(f"{name} of a game that has raised was called")
        if name != self.method:
            return act()
        self.fuse += 1
        if self.fuse <= self.at:
            return act()
        self.exploded = True
        if self.done:
            act()
        raise self.error or Boom(name)

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        infos: tuple[Mapping[str, Any], ...] = self._do("reset", lambda: self.game.reset(seed))
        return infos

    def step(self, inputs: JointInput) -> Outcome:
        outcome: Outcome = self._do("step", lambda: self.game.step(inputs))
        return outcome

    def save(self) -> Any:
        return self._do("save", self.game.save)

    def load(self, snapshot: Any) -> None:
        self._do("load", lambda: self.game.load(snapshot))

    def observe(self) -> tuple[Observation, ...]:
        seen: tuple[Observation, ...] = self._do("observe", self.game.observe)
        return seen

    def observe_at(self, snapshot: Any) -> tuple[Observation, ...]:
        seen: tuple[Observation, ...] = self._do("observe_at", lambda: self.game.observe_at(snapshot))
        return seen

    def state_bytes(self, snapshot: Any) -> bytes:
        data: bytes = self._do("state_bytes", lambda: self.game.state_bytes(snapshot))
        return data


class ExplosivePolicy(ToyPolicy):
    """A policy that raises, or decides nonsense, at a frame."""

    def __init__(self, player: int, at: int, value: Any = None) -> None:
        super().__init__(player, 1)
        self.at = at
        self.value = value

    def act(self, observation: Any, frame: int) -> Any:
        if frame == self.at:
            if self.value is None:
                raise Boom("act")
            return self.value
        return super().act(observation, frame)


def toy_scenario(
    game: Callable[[Game], Game], seed: int, *, policy: Policy | None = None, episodes: int = 2, **more: Any
) -> Scenario:
    """Two peers on a rough network; player 0 has the game that ``game`` makes of a toy."""
    made: list[Game] = []

    def build() -> Game:
        made.append(Toy())
        return game(made[-1]) if len(made) == 1 else made[-1]

    return Scenario(
        PlaySettings(episodes=episodes, frame_limit=50, input_delay=0, max_prediction=12, **more),
        build,
        [lambda _game, player: policy or ToyPolicy(player, seed), lambda _game, player: ToyPolicy(player, seed)],
        link=CONDITIONS["wifi_average"],
        seed=seed,
    )


def surviving(scenario: Scenario) -> tuple[BaseException | None, list[PlayerResult], Simulator]:
    """Play; what was raised (with its traceback), and what both had."""
    simulator = Simulator(scenario)
    try:
        simulator.run()
    except (Boom, SystemExit, GeneratorExit, Panic) as error:
        return error, simulator.results, simulator
    return None, simulator.results, simulator


def assert_facts(export: Export, game: Game) -> None:
    """What the export says is what seed and inputs give, and its schema holds."""
    check_export(export)
    again = replay(export.header, export.canonical, limited(game, export.header.settings.frame_limit))
    found = compare_episodes((export.header, export.canonical), (export.header, again), header=False)
    assert found is None, str(found)


def assert_crashed_well(scenario: Scenario, game: Callable[[], Game]) -> str:
    """One crash: its exception, its prefix, its partner's prefix. Where it happened, as the innermost function."""
    error, results, simulator = surviving(scenario)
    assert error is not None, "nothing was raised"
    crashed, partner = results
    peer = simulator.peers[0]
    assert peer is not None
    assert peer.failure is error
    assert error.__context__ is None, "raised by nothing else"
    begun = [event for event in crashed.events if isinstance(event, EpisodeStarted)]
    ends = [event for event in crashed.events if isinstance(event, EpisodeEnded)]
    assert len(crashed.exports) == len(begun) == len(ends), "every episode that began is exported, the crashed one too"
    assert crashed.ended == "error"
    for event, export in zip(ends, crashed.exports, strict=True):
        assert_facts(export, game())
        assert (event.status, event.frames) == (export.header.status, export.header.frames)
    if begun:
        assert peer.episode is not None
        statuses = [export.header.status for export in crashed.exports]
        assert statuses[:-1] == ["complete"] * (len(statuses) - 1)
        if peer.episode.state is State.FAILED:
            assert statuses[-1] == "error"
            frames, canonical = crashed.exports[-1].header.frames, peer.episode.session.canonical
            if scenario.settings.on_disconnect == "end":
                assert frames == canonical
            else:  # the partner plays on from the last input that it has
                assert canonical - 20 < frames <= canonical
        else:
            assert statuses[-1] == "complete", "the next episode did not begin"
    for export in partner.exports:
        assert_facts(export, game())
    for one, two in zip(crashed.exports, partner.exports, strict=False):
        # Not by hand of the replay only: both hold the same inputs for every frame both have.
        frames = min(one.header.frames, two.header.frames)
        for player in (0, 1):
            name = f"actions/{one.header.game.agents[player]}"
            width = one.canonical.columns[name].shape[1]
            cut = frames * width
            assert one.canonical.columns[name].data[:cut] == two.canonical.columns[name].data[:cut]
    assert partner.ended is not None
    assert any(isinstance(event, PlayerGone) for event in partner.events) or partner.ended in ("finished", "timeout")
    return traceback.extract_tb(error.__traceback__)[-1].name


# -- the measure: crashes while frames are simulated again -----------------------------------------------------------


class CrashesAgain(Game):
    """Raises when frames are stepped that had been stepped before: in a rollback, at the ``skip``-th such frame."""

    def __init__(self, game: Game, start: int, skip: int, *, done: bool) -> None:
        self.game = game
        self.spec = game.spec
        self.left = skip
        self.start = start
        self.done = done
        self.frame = self.seen = 0

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        self.frame = 0
        return self.game.reset(seed)

    def step(self, inputs: JointInput) -> Outcome:
        self.frame += 1
        if self.start < self.frame <= self.seen:
            self.left -= 1
            if self.left <= 0:
                if self.done:
                    self.game.step(inputs)
                raise Boom("step")
        self.seen = max(self.seen, self.frame)
        return self.game.step(inputs)

    def save(self) -> Any:
        return self.frame, self.game.save()

    def load(self, snapshot: Any) -> None:
        self.frame = snapshot[0]
        self.game.load(snapshot[1])

    def state_bytes(self, snapshot: Any) -> bytes:
        return self.game.state_bytes(snapshot[1])

    def observe(self) -> tuple[Observation, ...]:
        return self.game.observe()


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("block", range(4))
def test_80_crashes_during_resimulation_give_80_prefixes_and_80_original_exceptions(block: int, done: bool) -> None:
    places = []
    for seed in range(block * 10, block * 10 + 10):
        made: list[Game] = []

        def build(made: list[Game] = made, seed: int = seed) -> Game:
            made.append(make("drift"))
            return CrashesAgain(made[0], 60 + seed, 1 + seed % 5, done=done) if len(made) == 1 else made[-1]

        scenario = Scenario(
            PlaySettings(frame_limit=220, max_prediction=30),
            build,
            [lambda game, player: make_policy("random_hold", game.spec, player, player + 1)] * 2,
            link=CONDITIONS["tcp_5"],
            seed=seed,
        )
        places.append(assert_crashed_well(scenario, lambda: make("drift")))
    assert places == ["step"] * 10


# -- every call there is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", CALLS)
def test_a_game_that_raises_at_any_call(method: str) -> None:
    for at in (0, 1, 2, 3, 30, 41, 52, 77):
        for done in (False, True):
            made: list[Explosive] = []

            def wrap(toy: Game, at: int = at, done: bool = done, made: list[Explosive] = made) -> Game:
                made.append(Explosive(toy, method, at, done=done))
                return made[-1]

            if at >= CALLS[method]:
                continue
            scenario = toy_scenario(wrap, seed=at)
            assert assert_crashed_well(scenario, Toy) == "_do"
            assert made[0].exploded


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([method for method in CALLS if method != "reset"]),
    st.integers(0, 200),
    st.booleans(),
    st.integers(0, 1000),
    st.sampled_from([1, 3]),
    st.sampled_from(["end", "continue"]),
)
def test_a_game_that_raises_at_any_call_property(
    method: str, at: int, done: bool, seed: int, save_every: int, on_disconnect: str
) -> None:
    scenario = toy_scenario(
        lambda toy: Explosive(toy, method, at % CALLS[method], done=done),
        seed,
        save_every=save_every,
        checksum_interval=save_every * 4,
        on_disconnect=on_disconnect,
    )
    assert assert_crashed_well(scenario, Toy) == "_do"


@pytest.mark.parametrize("at", [0, 1, 7, 30])
def test_a_policy_that_raises(at: int) -> None:
    scenario = toy_scenario(lambda toy: toy, 3, policy=ExplosivePolicy(0, at), episodes=1)
    assert assert_crashed_well(scenario, Toy) == "act"


def test_a_policy_that_decides_what_is_no_action() -> None:
    scenario = toy_scenario(lambda toy: toy, 3, policy=ExplosivePolicy(0, 20, 99), episodes=1)
    simulator = Simulator(scenario)
    with pytest.raises(ValueError, match="action 99"):
        simulator.run()
    (export,) = simulator.results[0].exports
    assert (export.header.status, export.header.frames > 5) == ("error", True)
    assert_facts(export, Toy())


class Panic(BaseException):
    """What a library in Rust raises, and others that count on nobody to catch it."""


@pytest.mark.parametrize("raised", [SystemExit(3), GeneratorExit(), Panic()], ids=repr)
def test_a_game_that_raises_what_is_no_exception_is_a_game_that_raises(raised: BaseException) -> None:
    scenario = toy_scenario(lambda toy: Explosive(toy, "step", 40, done=False, error=raised), 1)
    error, results, _ = surviving(scenario)
    assert error is raised
    assert results[0].exports[-1].header.status == "error"
    assert results[1].exports[-1].header.status == "partner_left"


def test_an_interrupt_goes_through_at_once_and_a_stop_still_exports_the_prefix() -> None:
    scenario = toy_scenario(lambda toy: Explosive(toy, "step", 40, done=True, error=KeyboardInterrupt()), 1)
    simulator = Simulator(scenario)
    with pytest.raises(KeyboardInterrupt):
        simulator.run()
    peer = simulator.peers[0]
    assert peer is not None
    assert peer.episode is not None
    before = peer.episode.session.canonical
    peer.stop(simulator.now)
    (export,) = peer.take_exports()
    assert (export.header.status, export.header.frames) == ("error", before)
    assert before > 10
    assert_facts(export, Toy())
    assert MatchEnded("error") in peer.take_events()
    assert isinstance(peer.failure, KeyboardInterrupt)


class Garbled(Toy):
    """From a frame on, its observation is none of its space."""

    def __init__(self, frame: int) -> None:
        super().__init__()
        self.frame = frame

    def observe(self) -> tuple[Any, ...]:
        seen = super().observe()
        return seen if self.state.frame < self.frame else ({"no": "array"}, seen[1])


@pytest.mark.parametrize("frame", [1, 17, 40])
def test_rows_that_are_not_of_the_games_spaces_end_the_record_before_the_first_of_them(frame: int) -> None:
    scenario = toy_scenario(lambda _toy: Garbled(frame), 5, policy=ToyPolicy(0, 5), episodes=1)
    simulator = Simulator(scenario)
    with pytest.raises((ValueError, TypeError)):
        simulator.run()
    (export,) = simulator.results[0].exports
    assert (export.header.status, export.header.frames) == ("error", frame - 1)
    assert_facts(export, Toy())
    (whole,) = simulator.results[1].exports
    assert_facts(whole, Toy())


# -- one deliberate mutation for each thing above --------------------------------------------------------------------


def crash_in_a_rollback() -> None:
    assert_crashed_well(toy_scenario(lambda toy: Explosive(toy, "load", 3, done=True), 1), Toy)


def settle_again(patch: pytest.MonkeyPatch) -> None:
    """As it was: whoever stops settles once more."""
    original = Episode.export

    def export(self: Episode, *args: Any) -> Export:
        if self.failure is not None:
            self.session._first_incorrect = None
            self.session.settle()
        return original(self, *args)

    patch.setattr(Episode, "export", export)


def another_exception(patch: pytest.MonkeyPatch) -> None:
    original = Session.settle

    def settle(self: Session) -> Any:
        try:
            return original(self)
        except Boom as error:
            raise Boom("instead") from error

    patch.setattr(Session, "settle", settle)


def no_export(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Episode, "exported", property(lambda self: True, lambda self, value: None), raising=False)


def no_status(patch: pytest.MonkeyPatch) -> None:
    original = Episode._break

    def fail(self: Episode, error: BaseException) -> None:
        original(self, error)
        self.state = State.ABORTED

    patch.setattr(Episode, "_break", fail)


@pytest.mark.parametrize("mutation", [settle_again, another_exception, no_export, no_status])
def test_a_mutation_is_noticed(mutation: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    crash_in_a_rollback()
    mutation(monkeypatch)
    with pytest.raises((AssertionError, AttributeError)):
        crash_in_a_rollback()
