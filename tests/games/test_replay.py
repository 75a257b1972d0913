"""What the audit says of inputs that were not sent by their owners."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from rollgym.games.identity import identity
from rollgym.games.record.columns import CanonicalBuilder
from rollgym.games.record.replay import ReplayError, replay
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import INPUT_GONE, INPUT_IDLE, INPUT_REAL, Canonical, Header
from rollgym.protocol.messages import PlaySettings
from tests.rollback.toy import Toy

FRAMES = 8


def played(
    sources: list[int], actions: list[int], **settings: Literal["play_on", "continue"]
) -> tuple[Header, Canonical]:
    """An episode in which player 1's inputs are these; player 0's are all its own."""
    game = Toy()
    builder = CanonicalBuilder(game.spec)
    builder.start(game.reset(3), game.observe(), game.digest(game.save()))
    for source, action in zip(sources, actions, strict=True):
        joint = (b"\x01", bytes((action,)))
        builder.append(joint, (INPUT_REAL, source), game.step(joint), game.observe(), game.digest(game.save()))
    play = PlaySettings(frame_limit=99, **settings)  # type: ignore[arg-type]
    header = Header("m", 0, 1, 3, identity(game.spec), play, ("a", "b"), len(sources), "aborted")
    return header, builder.build()


REAL8, IDLE3, GONE3 = [INPUT_REAL] * 8, [0] * 5 + [INPUT_IDLE] * 3, [0] * 5 + [INPUT_GONE] * 3
DOING, RESTING = [2] * 8, [2] * 5 + [0] * 3


@pytest.mark.parametrize(
    ("sources", "settings"),
    [
        (REAL8, {}),
        (IDLE3, {"away": "play_on"}),
        ([0, 0, 0, 0, 0, 1, 0, 1], {"away": "play_on"}),
        (GONE3, {"on_disconnect": "continue"}),
        (IDLE3, {"on_disconnect": "continue"}),  # as it was written before there was a code of its own
        ([0, 0, 0, 0, 0, 1, 3, 3], {"on_disconnect": "continue", "away": "play_on"}),
    ],
)
def test_what_was_filled_in_where_the_settings_allow_it_is_played(
    sources: list[int], settings: dict[str, Literal["play_on", "continue"]]
) -> None:
    header, canonical = played(sources, RESTING, **settings)
    assert replay(header, canonical, Toy()) == canonical


@pytest.mark.parametrize(
    ("sources", "actions", "settings", "says"),
    [
        (IDLE3, RESTING, {}, "1 at frame 5 of agent_1, in a match of away: stall"),
        (GONE3, RESTING, {}, "3 at frame 5 of agent_1, in a match of on_disconnect: end"),
        (GONE3, RESTING, {"away": "play_on"}, "in a match of on_disconnect: end"),
        (IDLE3, DOING, {"away": "play_on"}, "frame 5 is marked idle, but holds 02"),
        (GONE3, DOING, {"on_disconnect": "continue"}, "frame 5 is marked gone, but holds 02"),
        ([0] * 5 + [3, 0, 3], RESTING, {"on_disconnect": "continue"}, "agent_1 is back at frame 6"),
        ([0] * 5 + [3, 3, 1], RESTING, {"on_disconnect": "continue", "away": "play_on"}, "is back at frame 7"),
        ([0] * 5 + [1, 0, 0], RESTING, {"on_disconnect": "continue"}, "is back at frame 6"),
        ([0] * 5 + [2, 0, 0], RESTING, {"away": "play_on"}, "value 2 at frame 5"),
        ([0] * 5 + [9, 0, 0], RESTING, {"away": "play_on"}, "value 9 at frame 5"),
    ],
)
def test_what_was_filled_in_where_it_cannot_be_is_refused(
    sources: list[int], actions: list[int], settings: dict[str, Literal["play_on", "continue"]], says: str
) -> None:
    header, canonical = played(sources, actions, **settings)
    with pytest.raises(ReplayError, match=says):
        replay(header, canonical, Toy())


def test_what_both_peers_falsely_flag_is_refused_though_they_agree() -> None:
    header, canonical = played(REAL8, RESTING)
    replay(header, canonical, Toy())
    flagged = canonical.columns["input_source"].array().copy()
    flagged[5:, 1] = INPUT_IDLE
    columns = {**canonical.columns, "input_source": Column.of(flagged.astype(np.uint8))}
    with pytest.raises(ReplayError, match=r"columns\.input_source"):
        replay(header, Canonical(columns, canonical.infos), Toy())
