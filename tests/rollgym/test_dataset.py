"""rollgym.load gives back what was played."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import rollgym
from rollgym.client_sim.network_model import CONDITIONS
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.dataset.stored_spaces import space_of
from rollgym.games.contract import Game
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.registry import make
from rollgym.games.spaces.described import describe
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import Canonical
from rollgym.protocol.files.parquet import EpisodeFileError, write_episode
from rollgym.protocol.messages import PlaySettings
from tests.games.space_strategies import any_spaces
from tests.protocol.episodes import small_episode
from tests.rollgym.stored import altered, play, write_export


class _Logging:
    """A bot that keeps what it did."""

    def __init__(self, policy: Policy, log: dict[int, Any]) -> None:
        self._policy = policy
        self._log = log

    def reset(self, seed: int) -> None:
        self._policy.reset(seed)

    def act(self, observation: Any, frame: int) -> Any:
        action = self._policy.act(observation, frame)
        self._log[frame] = action
        return action


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[int, Any]]]:
    """An episode of Pong, exported by both players, and what each bot decided."""
    folder = tmp_path_factory.mktemp("exports")
    logs: list[dict[int, Any]] = [{}, {}]

    def policy(game: Game, player: int) -> Policy:
        return _Logging(make_policy("random_hold", game.spec, player, player + 1), logs[player])

    scenario = Scenario(
        settings=PlaySettings(frame_limit=300, input_delay=2),
        game=lambda: make("pong", {"points": 9}),
        policies=[policy, policy],
        link=CONDITIONS["wifi_average"],
    )
    result = simulate(scenario)
    for player in result.players:
        for export in player.exports:
            write_export(folder, export)
    return folder, logs


def test_an_episode_is_arrays_by_agent(played: tuple[Path, list[dict[int, Any]]]) -> None:
    folder, logs = played
    (episode,) = rollgym.load(folder)
    assert episode.path.name == "episode_000.player_0.parquet"
    assert (episode.frames, episode.header.game.id, episode.agents) == (300, "pong", ("left", "right"))
    spec = make("pong", {"points": 9}).spec
    for player, agent in enumerate(episode.agents):
        space: Any = spec.observation_spaces[player]
        observed = episode.observations[agent]
        assert sorted(observed) == sorted(space.spaces)
        for row in (0, 1, 150, 300):
            assert space.contains({key: values[row] for key, values in observed.items()})
        assert episode.actions[agent].shape == (300,)
        assert episode.rewards[agent].shape == episode.terminations[agent].shape == (300,)
        assert len(episode.infos[agent]) == 301
        # What a bot decides at frame f is for frame f + 2; before that it idles.
        assert episode.actions[agent].tolist()[2:] == [logs[player][frame] for frame in range(298)]
        assert len(set(episode.actions[agent].tolist())) > 1
    assert episode.truncations["left"].tolist() == [False] * 299 + [True]
    assert not episode.terminations["right"].any()
    assert episode.own is not None


def test_both_peers_files_give_the_same_arrays(played: tuple[Path, list[dict[int, Any]]]) -> None:
    folder, _ = played
    first, second = (next(rollgym.load(folder / f"episode_000.player_{player}.parquet")) for player in (0, 1))
    for agent in first.agents:
        assert np.array_equal(first.actions[agent], second.actions[agent])
        assert np.array_equal(first.rewards[agent], second.rewards[agent])
        assert first.infos[agent] == second.infos[agent]
    assert first.own is not None
    assert second.own is not None
    assert (first.own.player, second.own.player) == (0, 1)
    assert (list(first.own_parts), list(second.own_parts)) == ([0], [1])


def test_both_peers_files_in_a_folder_are_one_episode(
    played: tuple[Path, list[dict[int, Any]]], tmp_path: Path
) -> None:
    (episode,) = rollgym.load(played[0])
    assert {player: own.player for player, own in episode.own_parts.items()} == {0: 0, 1: 1}
    assert {"timestamp.left", "timestamp.right"} <= {*episode.table().column_names}
    # Two that differ are two versions of it.
    for group in play(frames=20):
        write_export(tmp_path, group[0])
        write_export(tmp_path, altered(group[1], "rewards", (7, 1), 0.5))
    first, second = rollgym.load(tmp_path)
    assert (list(first.own_parts), list(second.own_parts)) == ([0], [1])
    assert first.rewards["right"][7] + 0.5 == second.rewards["right"][7]


def test_arrays_follow_from_the_actions(played: tuple[Path, list[dict[int, Any]]]) -> None:
    folder, _ = played
    episode = next(rollgym.load(folder))
    game = make("pong", {"points": 9})
    game.reset(episode.header.seed)
    for frame in range(300):
        for player, agent in enumerate(episode.agents):
            now = game.observe()[player]
            assert all(np.array_equal(now[key], episode.observations[agent][key][frame]) for key in now)
        actions = [episode.actions[agent][frame] for agent in episode.agents]
        outcome = game.step(tuple(c.encode(a) for c, a in zip(game.spec.codecs, actions, strict=True)))
        assert outcome.rewards == tuple(episode.rewards[agent][frame] for agent in episode.agents)


def test_a_missing_path_and_a_broken_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        rollgym.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no episodes in it"):
        rollgym.load(tmp_path)
    with pytest.raises(ValueError, match="verdict 'verifed': expected one or several of verified, diverged, "):
        rollgym.load(tmp_path, verdict="verifed")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(EpisodeFileError, match=r"bad\.parquet"):
        list(rollgym.load(tmp_path))


def test_columns_that_do_not_fit_the_spaces_are_an_error(tmp_path: Path) -> None:
    header, canonical = small_episode(frames=2)  # its spaces are not described
    write_episode(tmp_path / "e.parquet", header, canonical, None, {})
    with pytest.raises(EpisodeFileError, match="do not fit the spaces: not the description of a space"):
        list(rollgym.load(tmp_path))


def test_an_action_that_does_not_exist_is_an_error(tmp_path: Path, played: tuple[Path, list[dict[int, Any]]]) -> None:
    from rollgym.protocol.files.parquet import read_episode

    stored = read_episode(played[0] / "episode_000.player_0.parquet")
    assert stored.canonical is not None
    wrong = Column("|u1", (300, 1), b"\xff" * 300)
    columns = {**stored.canonical.columns, "actions/right": wrong}
    write_episode(tmp_path / "e.parquet", stored.header, Canonical(columns, []), None, {})
    with pytest.raises(EpisodeFileError, match=r"action 255: expected 0\.\.2"):
        list(rollgym.load(tmp_path))


@given(space=any_spaces)
def test_a_described_space_is_read_back(space: Any) -> None:
    assert space_of(describe(space)) == space


@pytest.mark.parametrize("text", [{}, {"type": "Graph"}, {"type": "Box"}, {"type": "Discrete", "n": "x", "start": 0}])
def test_what_describes_no_space_is_refused(text: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not the description of a space"):
        space_of(text)


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = rollgym.nothing
