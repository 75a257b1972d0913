"""What cannot be played or recorded is refused before it is played, with the field and what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from rollgym.commands.simulate_plan import Flags, read_plan
from rollgym.config.problems import ConfigError
from rollgym.config.reading import read_config
from rollgym.games.description import Description, describe
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import (
    MAX_FRAMES,
    OWN_COLUMNS,
    Canonical,
    Export,
    Header,
    Own,
    RollbackEvent,
    Tail,
    canonical_layout,
    content_digest,
)
from rollgym.protocol.episode.export_body import decode_export, encode_export
from rollgym.protocol.messages import GameIdentity, MessageError, PlaySettings, dump, parse
from rollgym.protocol.packets import MAX_PACKET, Forward, Input, decode, encode, widest_input
from rollgym.server.errors import ServerError
from rollgym.server.feasible import bounded, largest, longest, problems
from rollgym.server.http.serve import serve
from rollgym.server.settings import MEBIBYTE, GameSettings, Limits, Play
from tests.server.clients import make_settings, running

PLAY = PlaySettings(frame_limit=1000)
LIMITS = Limits()


def described(
    *,
    agents: int = 2,
    npcs: int = 0,
    action: int = 1,
    observation: int = 16,
    max_frames: int | None = None,
    game: str = "somebody:game",
) -> Description:
    """A game with such spaces."""
    names = tuple(f"a{n}" for n in range(agents))
    box = {"type": "Box", "shape": [observation], "dtype": "uint8", "low": 0, "high": 255}
    found = GameIdentity(game, "1", {}, names, ({},) * agents, (box,) * agents, names[agents - npcs :] if npcs else ())
    return Description(found, 60, (action,) * (agents - npcs), (observation,) * agents, max_frames)


@pytest.mark.parametrize(
    ("game", "play", "limits", "field", "change"),
    [
        ({}, {"frame_limit": 200_001}, {}, "experiment.play.frame_limit: 200001", "at most 200000"),
        ({"max_frames": 10}, {"frame_limit": 5_000_000}, {}, "experiment.play.frame_limit", "at most 200000"),
        ({"max_frames": 300_000}, {"frame_limit": None}, {}, "experiment.play.frame_limit", "set play.frame_limit"),
        ({"game": "drift"}, {"frame_limit": None}, {}, "experiment.play.frame_limit", "set play.frame_limit"),
        # Two players, a colour screen each: 210 x 160 x 3 bytes.
        ({"observation": 100_800}, {"frame_limit": 1500}, {}, "frame_limit: an episode of 1500", "at most 886, or"),
        ({"observation": 100_800}, {"frame_limit": None}, {}, "frame_limit: an episode of 200000", "at most 886, or"),
        ({"max_frames": 1500, "observation": 100_800}, {"frame_limit": None}, {}, "1500 frames", "at most 886, or"),
        ({}, {}, {"upload_bytes": 200_000}, "server.limits.upload_bytes allows", "or raise server.limits"),
        ({}, {}, {"export_bytes": 40_000}, "server.limits.export_bytes allows", ": raise server.limits"),
        ({"action": 12_000}, {}, {}, "experiment.game: an action of a1 takes 12000", "at most 1141"),
        ({"observation": 1 << 30}, {"frame_limit": 1}, {}, "an episode of 1 frames", ": raise server.limits"),
        ({}, {}, {"relay_packets_per_second": 100.0}, "server.limits.relay_packets_per_second: 100", "at least 120"),
        ({"agents": 3}, {}, {"connections": 2}, "server.limits.connections: 2", "at least 3"),
        ({}, {}, {"message_bytes": 4200}, "experiment.game: the description", "server.limits.message_bytes"),
    ],
)
def test_each_reason_names_the_field_and_what_to_change(
    game: dict[str, Any], play: dict[str, Any], limits: dict[str, Any], field: str, change: str
) -> None:
    found = problems(described(**game), msgspec.structs.replace(PLAY, **play), LIMITS.model_copy(update=limits))
    assert len(found) == 1, found
    assert field in found[0]
    assert change in found[0]


@pytest.mark.parametrize(
    ("game", "play"),
    [
        ({}, {}),
        ({}, {"frame_limit": None}),  # nobody knows: truncated at the limit
        ({"max_frames": 200_000}, {"frame_limit": None}),
        ({"agents": 16, "npcs": 4, "observation": 400}, {}),
        ({"observation": 84 * 84 * 4}, {}),
        ({"action": 1000}, {}),
    ],
)
def test_what_fits_is_not_refused(game: dict[str, Any], play: dict[str, Any]) -> None:
    assert problems(described(**game), msgspec.structs.replace(PLAY, **play), LIMITS) == []


def test_infos_count_where_somebody_has_counted_them() -> None:
    found = problems(described(), msgspec.structs.replace(PLAY, frame_limit=100_000), LIMITS, infos_per_frame=40.0)
    assert len(found) == 1
    assert "set play.frame_limit to at most 50000" in found[0]


def test_an_episode_without_a_limit_gets_the_servers() -> None:
    assert bounded(PLAY, LIMITS) == PLAY
    free = msgspec.structs.replace(PLAY, frame_limit=None)
    assert bounded(free, LIMITS).frame_limit == LIMITS.episode_frames == longest(described(), free, LIMITS)
    assert longest(described(max_frames=70), free, LIMITS) == 70


@pytest.mark.parametrize("limits", [{"episode_frames": MAX_FRAMES + 1}, {"export_bytes": 1 << 30}])
def test_no_limit_allows_what_a_file_cannot_hold(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="less than or equal"):
        Limits.model_validate(limits)


# --- the largest export -----------------------------------------------------------------------------------------


def worst_export(description: Description, play: PlaySettings, frames: int) -> Export:
    """Every number at its widest, every frame mispredicted, each seen wrongly by the player, and a full tail."""
    agents, players = description.game.agents, description.game.players
    name = "n" * 128
    header = Header("m" * 25, 1, 1 << 62, 1 << 62, description.game, play, (name,) * len(players), frames, "aborted")
    random = np.random.default_rng(1)

    def column(rows: int, size: int) -> Column:
        return Column.of(random.integers(0, 256, (rows, size), np.uint8))

    columns: dict[str, Column] = {}
    for key, (dtype, rows, shape) in canonical_layout(header).items():
        if shape is None:
            columns[key] = column(rows, max(description.action_bytes))
        else:
            columns[key] = Column.of(np.zeros((rows, *shape), dtype or "|u1"))
    columns["frame"] = Column.of(np.arange(frames, dtype=np.uint32))
    for agent, size in zip(agents, description.observation_bytes, strict=True):
        columns[f"observations/{agent}"] = column(frames + 1, size)
    facts = Canonical(columns, [])
    own = {key: Column.of(np.zeros(frames, dtype=dtype)) for key, dtype in OWN_COLUMNS.items()}
    own["seen_frame"] = Column.of(np.arange(frames, dtype=np.uint32))
    own[f"seen/{players[0]}"] = column(frames, max(description.observation_bytes))
    wide = b"\x01" * max(description.action_bytes)
    events = [
        RollbackEvent(frames + 70_000, frame + 70_000, 70_000, player, wide, wide, 1e9)
        for frame in range(frames)
        for player in range(1, len(players))
    ]
    ahead = play.max_prediction + play.input_delay + int(play.away_limit * play.fps)
    tail = Tail(
        frames, [(wide,) * len(agents)] * ahead, [(True,) * len(players)] * ahead, [(1.5,) * len(agents)] * ahead
    )
    text = {f"key{n}": "x" * 100 for n in range(50)}
    return Export(
        header,
        facts,
        Own(0, own, events, tail, dict(text), dict(text), dict(text), 1e9, 2e9),
        content_digest(header, facts),
    )


@given(
    agents=st.integers(1, 5),
    npcs=st.integers(0, 2),
    action=st.integers(1, 1100),
    observation=st.integers(1, 5000),
    frames=st.integers(0, 60),
    ahead=st.integers(0, 100),
)
@settings(max_examples=40)
def test_no_export_is_larger_than_is_said(
    agents: int, npcs: int, action: int, observation: int, frames: int, ahead: int
) -> None:
    play = PlaySettings(frame_limit=max(1, frames), max_prediction=ahead, away_limit=1.0)
    description = described(agents=agents, npcs=min(npcs, agents - 1), action=action, observation=observation)
    body = encode_export(worst_export(description, play, frames))
    assert len(body) <= largest(description, play, frames)


@pytest.mark.parametrize(("agents", "action", "observation"), [(1, 1, 1), (2, 1, 3), (2, 900, 500), (5, 40, 7)])
def test_no_frame_takes_more_than_is_said(agents: int, action: int, observation: int) -> None:
    """Without the room that there is for what does not grow."""
    description = described(agents=agents, action=action, observation=observation)
    few, many = (len(encode_export(worst_export(description, PLAY, frames))) for frames in (3000, 6000))
    said = [largest(description, PLAY, frames) for frames in (3000, 6000)]
    assert many - few <= said[1] - said[0]


def test_the_observations_of_the_reset_count() -> None:
    description = described(agents=3, observation=100_000)
    assert len(encode_export(worst_export(description, PLAY, 0))) <= largest(description, PLAY, 0)


def test_the_largest_is_not_far_from_what_there_can_be() -> None:
    """So that nothing is refused without need."""
    description = described(observation=2000, action=8)
    body = encode_export(worst_export(description, PLAY, 1000))
    assert len(body) > 0.9 * largest(description, PLAY, 1000)
    decode_export(encode_export(worst_export(described(observation=3), PLAY, 5)))


@pytest.mark.parametrize("players", [1, 2, 16])
def test_the_widest_input_fits_into_each_packet_and_one_byte_more_does_not(players: int) -> None:
    width = widest_input(players)
    status = (0,) * players, (False,) * players

    def packets(size: int) -> list[bytes]:
        one = (b"\x01" * size,)
        return [
            encode(Input(0, 0, one, 0, 0, *status, 0, 0, 0, -1, 0, 0, 0, b"\x01")),
            encode(Forward(0, 0, 0, one, b"\x01")),
        ]

    assert all(decode(packet) for packet in packets(width))
    assert max(len(packet) for packet in packets(width)) == MAX_PACKET
    assert max(len(packet) for packet in packets(width + 1)) > MAX_PACKET


# --- where it is asked ------------------------------------------------------------------------------------------


def test_an_experiment_file_says_it_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("experiment:\n  play:\n    frame_limit: 5000000\nserver:\n  limits: {connections: 1}\n")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    lines = str(caught.value).replace(str(tmp_path), "").splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["/my.yaml:3", "experiment.play.frame_limit"],
        ["/my.yaml:5", "server.limits.connections"],
    ]


@pytest.mark.parametrize("play", [Play(), Play(frame_limit=1_000_000)])
async def test_a_server_does_not_start_with_what_cannot_be_played(tmp_path: Path, play: Play) -> None:
    with pytest.raises(ServerError, match=r"experiment\.play\.frame_limit: .*"):
        await serve(make_settings(tmp_path / "data", play=play), signals=False)
    assert not (tmp_path / "data").exists()


async def test_players_are_told_where_an_episode_ends(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path, play=Play(), game=GameSettings(id="pong"))) as server:
        assert server.server.matches.experiments[0].play.frame_limit == LIMITS.episode_frames


@pytest.mark.parametrize("game", ["pong", "kitchen"])
def test_games_of_ours_that_end_need_no_limit(game: str) -> None:
    assert problems(describe(game), PlaySettings(), LIMITS) == []


WIDE = """
import gymnasium, numpy as np
from gymnasium import spaces
class Env(gymnasium.Env):
    metadata = {"render_fps": 30}
    action_space = spaces.Dict({k: spaces.Box(-1, 1, (3000,), np.float32) for k in "pq"})
    observation_space = spaces.Dict({k: spaces.Box(-1, 1, (1,), np.float32) for k in "pq"})
"""


def test_an_action_wider_than_a_packet_is_refused_by_every_verb_that_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wide_env.py").write_text(WIDE)
    (tmp_path / "my.yaml").write_text("experiment: {game: {id: 'wide_env:Env'}, play: {frame_limit: 100}}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    told = "an action of q takes 12000 bytes: expected at most 1141, what a packet holds"
    with pytest.raises(ConfigError, match=f"experiment.game: {told}"):
        read_config(tmp_path / "my.yaml")
    flags = Flags("wide_env:Env", None, None, None, None, None, None, None, None, None, None, None, [])
    with pytest.raises(typer.Exit) as caught:
        read_plan(None, flags)
    assert caught.value.exit_code == 2
    assert f"wide_env:Env: {told}" in capsys.readouterr().err


def test_a_checksum_of_a_state_that_is_not_saved_is_refused_wherever_settings_come_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="checksum_interval 10: expected a multiple of save_every"):
        Play(save_every=3)
    with pytest.raises(MessageError, match="checksum_interval 10: expected a multiple of save_every"):
        parse(PlaySettings, {**dump(PlaySettings()), "save_every": 3})
    path = tmp_path / "my.yaml"
    path.write_text("experiment:\n  play: {save_every: 3}")
    with pytest.raises(ConfigError, match=r"my\.yaml:2: experiment\.play: checksum_interval 10: expected a multiple"):
        read_config(path)
    assert Play(save_every=5).settings(60).save_every == 5


def test_sizes_are_told_in_words_that_people_read() -> None:
    found = problems(described(observation=100_800), PLAY, LIMITS.model_copy(update={"export_bytes": 32 * MEBIBYTE}))
    assert "may take 288.8 MiB, and server.limits.export_bytes allows 32.0 MiB" in found[0]
