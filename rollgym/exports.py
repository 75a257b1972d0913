"""A peer's exports as files beside each other: ``episode_000.player_0.parquet`` and so on."""

from __future__ import annotations

from pathlib import Path

from rollgym.client_sim.keep import proof
from rollgym.protocol.durable import publish, sync_file
from rollgym.protocol.episode import Export
from rollgym.protocol.parquet import write_episode


def export_name(episode: int, player: int) -> str:
    """The file name of one peer's export of one episode."""
    return f"episode_{episode:03d}.player_{player}.parquet"


def write_export(folder: Path, export: Export) -> Path:
    """Write an export into an existing folder, whole or not at all. Returns its path.

    Raises ``OSError`` if the disk refuses, and :class:`~rollgym.protocol.parquet.EpisodeFileError`.
    """
    path = folder / export_name(export.header.episode, export.own.player)
    temporary = path.with_suffix(".part")
    write_episode(temporary, export.header, export.canonical, export.own, proof(export))
    sync_file(temporary)
    publish(temporary, path)
    return path
