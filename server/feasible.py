"""What cannot be played, or not recorded, found before the first frame: from the game, the settings and the limits.

A pure function of the three. Whatever it passes fits: a packet holds an input, an upload holds the longest episode.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from rollgym.games.description import Description
from rollgym.games.registry import is_plain
from rollgym.protocol.episode.bounds import MAX_HEADER_BYTES, MAX_INFOS
from rollgym.protocol.messages import PlaySettings, dump
from rollgym.protocol.packets import widest_input
from rollgym.server.settings import MEBIBYTE, Limits

_FIXED = 1 << 16
# Bytes of an export beside its header that do not grow with its frames: names of columns, statistics, software.

_NAMES = 4096
# Bytes of a header beside the game: participants, settings, match.

_OWN_ROW = 34
# Bytes of one frame in a peer's own columns.

_ROLLBACK = 100
# Bytes of one rollback, without its two inputs.

_TAIL_VALUES = 16
# Bytes that a frame which never became canonical takes for each agent, beside its input.

_ENCODED = 1.001
# Content encoding makes of bytes that cannot be compressed a little more.

_SENDS = 2
# Packets of a peer to each other one per frame: one, and a second time where packets are lost.


class Problem(NamedTuple):
    """One reason why an experiment cannot be played as it is configured."""

    field: str
    """The key of the experiment file."""
    message: str
    """What is wrong with it, and what to change."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def problems(
    description: Description, play: PlaySettings, limits: Limits, *, infos_per_frame: float = 0.0
) -> list[str]:
    """Why a match cannot be played and recorded, each naming the field and what to change; none: it can.

    ``infos_per_frame``: entries of infos that a frame has, of all agents, where somebody has counted them.
    """
    return [str(problem) for problem in find_problems(description, play, limits, infos_per_frame=infos_per_frame)]


def find_problems(
    description: Description, play: PlaySettings, limits: Limits, *, infos_per_frame: float = 0.0
) -> list[Problem]:
    """:func:`problems`, each with its field by itself."""
    found = [*_length(description, play, limits), *_inputs(description, play, limits), *_identity(description, limits)]
    if not found:
        found = _size(description, play, limits)
    frames = longest(description, play, limits)
    if frames * infos_per_frame > MAX_INFOS:
        most = int(MAX_INFOS / infos_per_frame)
        message = f"{frames} frames with {infos_per_frame:g} infos each are more than the {MAX_INFOS} that an upload "
        found.append(Problem(_LIMIT, f"{message}may have: set play.frame_limit to at most {most}, or leave infos out"))
    return found


def bounded(play: PlaySettings, limits: Limits) -> PlaySettings:
    """The settings as they are sent to the players: no episode is longer than the server takes."""
    if play.frame_limit is not None:
        return play
    return msgspec.structs.replace(play, frame_limit=limits.episode_frames)


def longest(description: Description, play: PlaySettings, limits: Limits) -> int:
    """Frames of the longest episode there can be."""
    known = (play.frame_limit, description.max_frames)
    return min([frames for frames in known if frames is not None], default=limits.episode_frames)


def largest(description: Description, play: PlaySettings, frames: int) -> int:
    """Bytes of the largest export of an episode, without its infos, whose size only the game knows.

    That is: every frame was simulated with a wrong prediction first, so that what the player saw is there twice.
    """
    tail = math.ceil(play.max_prediction + play.input_delay + play.away_limit * play.fps) + 64
    widest = max(description.action_bytes, default=0)
    return (
        _FIXED
        + _NAMES
        + _identity_bytes(description)
        + tail * len(description.game.agents) * (_TAIL_VALUES + widest)
        + sum(description.observation_bytes)
        + frames * _row(description)
    )


_LIMIT = "experiment.play.frame_limit"


def _length(description: Description, play: PlaySettings, limits: Limits) -> list[Problem]:
    """Episodes that have no end, or one that the server does not take."""
    most, game = limits.episode_frames, description.game.id
    if play.frame_limit is not None:
        if play.frame_limit > most:
            return [Problem(_LIMIT, f"{play.frame_limit}: expected at most {most}, server.limits.episode_frames")]
    elif description.max_frames is None:
        if is_plain(game):
            return [Problem(_LIMIT, f"episodes of {game} with these parameters may have no end: set play.frame_limit")]
    elif description.max_frames > most:
        message = f"{game} has episodes of up to {description.max_frames} frames, and server.limits.episode_frames is"
        return [Problem(_LIMIT, f"{message} {most}: set play.frame_limit")]
    return []


def _inputs(description: Description, play: PlaySettings, limits: Limits) -> list[Problem]:
    """Actions that no packet holds, packets that the relay drops, seats that nobody can take."""
    found = []
    players, widest = description.players, widest_input(description.players)
    width, agent = max(zip(description.action_bytes, description.game.players, strict=True))
    if width > widest:
        message = f"an action of {agent} takes {width} bytes: expected at most {widest}, what a packet holds"
        found.append(Problem("experiment.game", message))
    rate = _SENDS * play.fps * (players - 1)
    if rate > limits.relay_packets_per_second:
        message = f"{limits.relay_packets_per_second:g}: expected at least {rate:g}, for {players} players at "
        found.append(Problem("server.limits.relay_packets_per_second", f"{message}{play.fps:g} frames a second"))
    if players > limits.connections:
        message = f"{limits.connections}: expected at least {players}, the players of {description.game.id}"
        found.append(Problem("server.limits.connections", message))
    return found


def _identity(description: Description, limits: Limits) -> list[Problem]:
    """Spaces whose description is too long to be sent: bounds that differ in every element."""
    size = _identity_bytes(description) + _NAMES
    most, key = min((MAX_HEADER_BYTES, ""), (limits.message_bytes, ", server.limits.message_bytes"))
    if size <= most:
        return []
    message = f"the description of its spaces takes {size} bytes: expected at most {most}{key}; bounds that are the "
    return [Problem("experiment.game", f"{message}same for all elements take the least")]


def _size(description: Description, play: PlaySettings, limits: Limits) -> list[Problem]:
    """An episode whose export may be larger than the server takes."""
    frames = longest(description, play, limits)
    size = largest(description, play, frames)
    name, most = min(
        ("export_bytes", limits.export_bytes),
        ("upload_bytes", int(limits.upload_bytes / _ENCODED)),
        key=lambda limit: limit[1],
    )
    if size <= most:
        return []
    fitting = (most - largest(description, play, 0)) // _row(description)
    way = f"set play.frame_limit to at most {fitting}, or raise" if fitting > 0 else "raise"
    message = f"an episode of {frames} frames may take {_mebibytes(size)}, and server.limits.{name} allows "
    return [Problem(_LIMIT, f"{message}{_mebibytes(most)}: {way} server.limits.export_bytes and upload_bytes")]


def _row(description: Description) -> int:
    """Bytes of one frame, at most: the canonical columns, the peer's own, what it saw wrongly, and its rollbacks."""
    agents, others = len(description.game.agents), max(0, description.players - 1)
    canonical = 4 + 8 + agents * (8 + 1 + 1 + 1) + description.row_bytes
    seen = 4 + max(description.observation_bytes, default=0)
    rollbacks = others * (_ROLLBACK + 2 * max(description.action_bytes, default=0))
    return canonical + _OWN_ROW + seen + rollbacks


def _identity_bytes(description: Description) -> int:
    return len(msgspec.msgpack.encode(dump(description.game)))


def _mebibytes(size: int) -> str:
    return f"{size / MEBIBYTE:.1f} MiB" if size >= MEBIBYTE else f"{size} bytes"
