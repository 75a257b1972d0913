"""The steps of an episode's way through the server, each done alone: what they cost is then not lost among threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from blake3 import blake3

from rollgym.games.record.audit import audit
from rollgym.games.registry import make
from rollgym.protocol.episode.bounds import check_bounds
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_body import decode_export
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.files.parquet import check_storable, write_episode
from rollgym.server.record.episode_files import server_software
from rollgym.server.record.upload_body import Body

T = TypeVar("T")


def ingest_steps(folder: Path, exports: list[list[Export]], bodies: list[list[bytes]]) -> dict[str, float]:
    """Seconds of processor time of each step, of one episode with its two uploads."""
    pairs = list(zip(*exports, strict=True))
    sent = list(zip(*bodies, strict=True))
    path = folder / "step"
    game = make("drift", {})

    def receive(body: bytes) -> None:
        file = Body(path, "identity", raw_limit=len(body), limit=len(body))
        file.write(body)
        file.finish()
        file.close()

    facts = [one for one, _ in pairs]

    def parity(pair: tuple[Export, ...]) -> None:
        one, two = pair
        compare_episodes((one.header, one.canonical), (two.header, two.canonical))

    def write(export: Export, canonical: bool, own: bool) -> None:
        parts = (export.canonical if canonical else None, export.own if own else None)
        write_episode(path, export.header, *parts, {})

    return {
        "receive both bodies": _both(sent, receive),
        "hash both": _both(sent, lambda body: blake3(body).digest()),
        "check the structure of both": _both(sent, check_bounds),
        "decode and check both": _both(sent, decode_export),
        "of that: check both": _both(pairs, check_export),
        "can both be stored": _both(pairs, lambda export: check_storable(export.header, export.canonical, export.own)),
        "parity": _each(pairs, parity),
        "audit": _each(facts, lambda export: audit(export, game)),
        "make the game": _each(facts, lambda _: make("drift", {})),
        "versions of the software": _each(facts, lambda _: server_software()),
        "write the canonical file": _each(facts, lambda export: write(export, True, False)),
        "write both peers' files": _both(pairs, lambda export: write(export, False, True)),
    }


def _both(pairs: list[tuple[T, ...]], work: Callable[[T], object]) -> float:
    return 2 * _each([one for pair in pairs for one in pair], work)


def _each(items: list[T], work: Callable[[T], object]) -> float:
    """Seconds of processor time, mean."""
    began = time.process_time()
    for item in items:
        work(item)
    return (time.process_time() - began) / len(items)
