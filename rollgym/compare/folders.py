"""Compare what two paths hold: two files, or the files of two folders that belong together by name."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from rollgym.compare.files import compare_files
from rollgym.compare.forms import form_of
from rollgym.compare.result import Comparison
from rollgym.protocol.parquet import EpisodeFileError, read_layout

_EPISODE = re.compile(r"episode_(\d+)(?:\.player_(\d+))?")
_CANONICAL = re.compile(r"canonical(?:\.player_(\d+))?")


class FolderComparison(Struct, frozen=True):
    """What became of two folders."""

    first: str
    second: str
    identical: bool
    """Every file has a counterpart, and all are identical."""
    pairs: list[Comparison]
    only_first: list[str]
    """Files without a counterpart."""
    only_second: list[str]


class _Name(NamedTuple):
    """What a file is by its name."""

    folder: tuple[str, ...]
    episode: str
    player: str | None


def compare_paths(first: Path, second: Path, only: Collection[str] = ()) -> Comparison | FolderComparison:
    """Compare two files or two folders. A file and a folder: the file of the folder that belongs to it.

    Raises :class:`~rollgym.protocol.parquet.EpisodeFileError` for a file that is unreadable or holds no frame, for a
    folder
    without episodes, and if nothing belongs together.
    """
    if first.is_dir() and second.is_dir():
        return _compare_folders(first, second, only)
    if first.is_dir():
        first = _counterpart(first, second)
    elif second.is_dir():
        second = _counterpart(second, first)
    return compare_files(first, second, only)


def _compare_folders(first: Path, second: Path, only: Collection[str]) -> FolderComparison:
    one, two = _files(first), _files(second)
    pairs = _pairs(one, two)
    if not pairs:
        if all(len({(name.folder, name.episode) for name in side}) == 1 for side in (one, two)):
            raise EpisodeFileError(second, f"different episodes than in {first}; name the two files")
        raise EpisodeFileError(second, f"no file in it belongs to one of {first} by its name")
    compared = [compare_files(left, right, only) for left, right in pairs]
    lefts, rights = {left for left, _ in pairs}, {right for _, right in pairs}
    lonely = [[str(p) for p in side.values() if p not in paired] for side, paired in ((one, lefts), (two, rights))]
    identical = all(pair.identical for pair in compared) and not lonely[0] and not lonely[1]
    return FolderComparison(str(first), str(second), identical, compared, lonely[0], lonely[1])


def _files(folder: Path) -> dict[_Name, Path]:
    """The files with facts in a folder (of a data folder: its dataset), by name."""
    root = folder / "episodes" if (folder / "episodes").is_dir() else folder
    found: dict[_Name, Path] = {}
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in (".parquet", ".csv") and p.is_file()):
        if form_of(path) == "episode" and read_layout(path).canonical is None:
            continue  # one peer's own part, which rightly differs
        # With the folder's own name: it may be the episode's. Exports have the game's above the match's.
        name = _name(Path(root.resolve().name, path.relative_to(root)))
        name = name._replace(folder=name.folder[1:][-1:])
        if name in found:
            raise EpisodeFileError(path, f"means the same episode as {found[name]}: compare folders of one form each")
        found[name] = path
    if not found:
        raise EpisodeFileError(folder, "no episodes in it")
    folders = {name.folder for name in found}
    if len(folders) == 1:  # one match: what its folder is called does not matter
        found = {name._replace(folder=()): path for name, path in found.items()}
    return found


def _name(relative: Path) -> _Name:
    folder = relative.parts[:-1]
    match = _EPISODE.fullmatch(relative.stem)
    if match is not None:
        return _Name(folder, str(int(match[1])), match[2])
    match = _CANONICAL.fullmatch(relative.stem)
    if match is not None:
        above = _EPISODE.fullmatch(folder[-1]) if folder else None
        return _Name(folder[:-1], str(int(above[1])) if above else "", match[1])
    return _Name(folder, relative.stem, None)


def _pairs(one: dict[_Name, Path], two: dict[_Name, Path]) -> list[tuple[Path, Path]]:
    """Same name first. Then the same episode: what all players agree on belongs to every player's file."""
    pairs = [(path, two[name]) for name, path in one.items() if name in two]
    taken = {path for pair in pairs for path in pair}
    rest: list[dict[tuple[tuple[str, ...], str], list[tuple[str | None, Path]]]] = [{}, {}]
    for side, left_over in zip((one, two), rest, strict=True):
        for name, path in side.items():
            if path not in taken:
                left_over.setdefault((name.folder, name.episode), []).append((name.player, path))
    for episode, lefts in rest[0].items():
        rights = rest[1].get(episode, [])
        alone = len(lefts) == len(rights) == 1
        pairs += [
            (left, right) for one_of, left in lefts for other, right in rights if alone or None in (one_of, other)
        ]
    return pairs


def _counterpart(folder: Path, file: Path) -> Path:
    if not file.is_file():
        raise EpisodeFileError(file, "no such file")
    wanted = _name(Path(*file.resolve().parts[-2:]))
    candidates = {name: path for name, path in _files(folder).items() if name.episode == wanted.episode}
    if wanted.player is not None:
        exact = {n: path for n, path in candidates.items() if n.player in (wanted.player, None)}
        candidates = exact or candidates
    if len(candidates) != 1:
        raise EpisodeFileError(folder, f"{len(candidates)} files in it belong to {file.name}: name one of them")
    return next(iter(candidates.values()))
