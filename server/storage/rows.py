"""What is in the catalogue, row by row."""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import Struct

from rollgym.protocol.episode.player_row import EpisodePlayerRow
from rollgym.protocol.messages import GameIdentity, PlaySettings

NO_LABEL = "(unknown)"
"""Experiment and condition of a match in a rebuilt catalogue of which there was nothing but uploads to be judged."""


class MatchRow(Struct, frozen=True):
    """A match as it was agreed. Everything an upload is checked against."""

    id: str
    experiment: str
    condition: str
    config_hash: str
    seed: int
    game: GameIdentity
    settings: PlaySettings
    participants: tuple[str, ...]
    software: tuple[dict[str, str], ...]
    created: float
    ended: float | None = None
    number: int | None = None
    """Which match of its experiment and condition, from 0: its seed follows from it. Two share one only if one of
    them was annulled."""
    reason: str | None = None
    """How it ended, for people."""
    annulled: bool = False
    """It was undone before play began."""
    owner: str | None = None
    """Which server's process played it. None if that is not known."""


class UploadRow(Struct, frozen=True):
    """An acknowledged upload."""

    match: str
    episode: int
    player: int
    body_hash: bytes
    digest: bytes
    bytes: int
    frames: int
    status: str
    received: float


class EpisodeRow(Struct, frozen=True):
    """A verdict."""

    match: str
    episode: int
    verdict: str
    detail: str
    players: tuple[int, ...]
    """Whose uploads it is about."""
    frames: int
    status: str
    seed: int
    digest: bytes
    mismatch: dict[str, Any] | None
    files: tuple[str, ...]
    """Names in the episode's folder."""
    judged: float
    by_player: tuple[EpisodePlayerRow, ...] = ()
    """Of the same players. Empty if a version of the server judged it that did not record this."""


class UnjudgedRow(Struct, frozen=True):
    """Why an episode that was received has no verdict. Gone as soon as it has one."""

    match: str
    episode: int
    kind: str
    """One of :data:`rollgym.server.unjudged.KINDS`."""
    reason: str
    players: tuple[int, ...]
    """Whose uploads were there."""
    at: float


class RefusalRow(Struct, frozen=True):
    """Uploads that were refused for one reason. Nothing about it is final: the same body may be taken later."""

    match: str
    episode: int
    player: int
    code: str
    reason: str
    """What the client was told the last time."""
    times: int
    first: float
    last: float


class Holder(NamedTuple):
    """Whom a ticket belongs to."""

    match: str
    player: int


class SeriesProgress(NamedTuple):
    """How far an experiment's condition is, over all runs of the server. Annulled matches do not count."""

    begun: int
    """Matches that were recorded, those that are over included."""
    over: int
    next_number: int
    """One more than the highest :attr:`MatchRow.number` in use: with the experiment's seed, a new match's seed."""
    free_numbers: tuple[int, ...]
    """Lower numbers that no match has, ascending."""
