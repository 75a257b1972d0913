"""Exports as a peer would make them, from drift played directly."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from rollgym.games.builtin.drift.rules import Drift, benchmark_input
from rollgym.games.frame_limit import limited
from rollgym.games.identity import identity
from rollgym.games.record.columns import CanonicalBuilder
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import OWN_COLUMNS, Canonical, Export, Header, Own, Status, content_digest
from rollgym.protocol.messages import MatchStart, PlaySettings
from rollgym.protocol.seeds import episode_seed

FRAMES = 40
PLAY = PlaySettings(episodes=3, fps=60.0, frame_limit=FRAMES, disconnect_timeout=0.2)

Part = Literal["rewards", "observations/player_0/position", "actions/player_1", "state_digest"]


def play_facts(seed: int, settings: PlaySettings, frames: int) -> Canonical:
    """``frames`` frames of drift with the reference workload's inputs."""
    game = limited(Drift(), settings.frame_limit)
    builder = CanonicalBuilder(game.spec)
    builder.start(game.reset(seed), game.observe(), game.digest(game.save()))
    for frame in range(frames):
        inputs = (bytes([benchmark_input(0, frame)]), bytes([benchmark_input(1, frame)]))
        builder.append(inputs, (0, 0), game.step(inputs), game.observe(), game.digest(game.save()))
    return builder.build()


def make_export(
    start: MatchStart,
    *,
    episode: int = 0,
    frames: int | None = None,
    status: Status = "complete",
    player: int | None = None,
) -> Export:
    """The export of ``start``'s player."""
    settings = start.settings
    assert settings.frame_limit is not None
    rows = settings.frame_limit if frames is None else frames
    seed = episode_seed(start.seed, episode)
    header = Header(
        start.match, episode, start.seed, seed, identity(Drift().spec), settings, start.participants, rows, status
    )
    facts = play_facts(seed, settings, rows)
    who = start.player if player is None else player
    columns = {name: Column.of(np.zeros(rows, dtype=dtype)) for name, dtype in OWN_COLUMNS.items()}
    own = Own(who, columns, [], None, {"rollbacks": 0}, {"name": "scripted"}, {"test": "1"}, 1.0, 2.0)
    return Export(header, facts, own, content_digest(header, facts))


def altered(export: Export, name: Part, frame: int) -> Export:
    """The same export with one value of one frame changed, and a digest that fits."""
    column = export.canonical.columns[name]
    values = column.array().copy()
    flat = values.reshape(values.shape[0], -1)
    if values.dtype == np.uint8:
        flat[frame, 0] ^= 1
    else:
        flat[frame, 0] += 1
    columns = {**export.canonical.columns, name: Column.of(values)}
    facts = Canonical(columns, export.canonical.infos)
    return msgspec.structs.replace(export, canonical=facts, digest=content_digest(export.header, facts))
