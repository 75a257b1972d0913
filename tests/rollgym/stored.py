"""A data folder without a server: matches in virtual time, judged and stored by the server's own code."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from rollgym.client_sim.exports.export_files import proof
from rollgym.client_sim.network_model import CONDITIONS, Link
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.games.contract import Game
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.registry import make
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import Canonical, Export, content_digest
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.files.parquet import write_episode
from rollgym.protocol.messages import PlaySettings
from rollgym.server.record.verdicts import Job, judge_episode
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.keys import UploadKey
from rollgym.server.storage.record import catalogue_of
from rollgym.server.storage.rows import EpisodeRow, MatchRow, UploadRow
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue

MATCH = "m" + "0123456789ab" * 2
OTHER = "m" + "ba9876543210" * 2


def play(
    game_id: str = "pong",
    *,
    episodes: int = 1,
    frames: int = 150,
    seed: int = 3,
    link: Link = CONDITIONS["wifi_average"],
    parameters: dict[str, object] | None = None,
    match: str = MATCH,
    input_delay: int = 1,
) -> list[list[Export]]:
    """The exports of a match, by episode and player. Bots act at random, so predictions fail."""

    def policy(game: Game, player: int) -> Policy:
        return make_policy("random_hold", game.spec, player, player + 1)

    game = make(game_id, parameters)
    scenario = Scenario(
        settings=PlaySettings(episodes=episodes, frame_limit=frames, input_delay=input_delay, fps=float(game.spec.fps)),
        game=lambda: make(game_id, parameters),
        policies=[policy] * game.spec.players,
        seed=seed,
        link=link,
    )
    game.close()
    players = simulate(scenario).players
    found = [[e for p in players for e in p.exports if e.header.episode == n] for n in range(episodes)]
    assert all(len(group) == len(players) for group in found)
    return [[changed(export, match=match) for export in group] for group in found]


def write_export(folder: Path, export: Export) -> Path:
    """Write a peer's export into a folder as ``episode_000.player_0.parquet``."""
    path = folder / f"episode_{export.header.episode:03d}.player_{export.own.player}.parquet"
    write_episode(path, export.header, export.canonical, export.own, proof(export))
    return path


def changed(export: Export, canonical: Canonical | None = None, **header: object) -> Export:
    """The export with another header or canonical part, and a digest that fits."""
    new = msgspec.structs.replace(export.header, **header)
    canonical = canonical or export.canonical
    return msgspec.structs.replace(export, header=new, canonical=canonical, digest=content_digest(new, canonical))


def altered(export: Export, name: str, place: tuple[int, ...], add: float) -> Export:
    """The export with one value of one column changed."""
    values = export.canonical.columns[name].array().copy()
    values[place] += values.dtype.type(add)
    columns = {**export.canonical.columns, name: Column.of(values)}
    return changed(export, Canonical(columns, export.canonical.infos))


Judged = tuple[EpisodeRow, MatchRow, tuple[UploadRow, ...]]
"""What a catalogue has of an episode."""


def match_of(export: Export, condition: str = "rtt_80") -> MatchRow:
    """The match of an episode, as a catalogue has it."""
    header = export.header
    return MatchRow(
        header.match,
        "study",
        condition,
        "c0ffee",
        header.match_seed,
        header.game,
        header.settings,
        header.participants,
        tuple({"python": "3.11", "rollgym": "1"} for _ in header.participants),
        1_700_000_000.5,
    )


def store(root: Path, exports: list[Export], condition: str = "rtt_80") -> str:
    """Put the exports of one episode into a data folder; the verdict."""
    return judged(root, exports, condition)[0].verdict


def judged(root: Path, exports: list[Export], condition: str = "rtt_80") -> Judged:
    """Put the exports of one episode into a data folder; what a catalogue would have of it."""
    header, match = exports[0].header, match_of(exports[0], condition)
    place = FolderStore(root)
    place.open(0)
    try:
        uploads = []
        for export in exports:
            path = place.new_temporary()
            path.write_bytes(encode_export(export))
            size = path.stat().st_size
            place.put_upload(UploadKey(header.match, header.episode, export.own.player), path)
            uploads.append(
                UploadRow(
                    header.match,
                    header.episode,
                    export.own.player,
                    b"",
                    export.digest,
                    size,
                    export.header.frames,
                    export.header.status,
                    1_700_000_100.25,
                )
            )
        row = judge_episode(Job(place, match, tuple(uploads), frozenset({header.game.id})))
        place.discard_uploads(UploadKey(header.match, header.episode, export.own.player) for export in exports)
    finally:
        place.close()
    return row, match, tuple(uploads)


async def catalogue(root: Path, episodes: list[Judged]) -> SqliteCatalogue:
    """The catalogue of a folder, open, with these."""
    place = SqliteCatalogue(catalogue_of(root))
    known: set[str] = set()
    for row, match, uploads in episodes:
        if match.id not in known:
            known.add(match.id)
            await place.add_match(match, tuple(secrets.token_bytes(16) for _ in match.participants))
        for upload in uploads:
            await place.add_upload(upload)
        await place.set_verdict(row)
    return place


def build(root: Path, make_one: Callable[[], list[list[Export]]] = lambda: play(episodes=4)) -> Path:
    """A data folder: two verified episodes, one partial, one diverged, and one verified of another match."""
    first, second, third, fourth = make_one()
    assert store(root, first) == "verified"
    assert store(root, second) == "verified"
    assert store(root, [changed(export, status="aborted") for export in third]) == "partial"
    assert store(root, [fourth[0], altered(fourth[1], "rewards", (70, 1), 0.5)]) == "diverged"
    (other,) = play(match=OTHER, seed=4, frames=60)
    assert store(root, other, condition="rtt_0") == "verified"
    return root
