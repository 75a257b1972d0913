"""Compare what two paths hold: two files, or the files of two folders that belong together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from msgspec import Struct

from rollgym.dataset.compare.files import compare_files
from rollgym.dataset.compare.identity import FileIdentity, identify
from rollgym.dataset.compare.result import Comparison
from rollgym.dataset.compare.text_files import is_text_file
from rollgym.protocol.files.parquet import EpisodeFileError

Files = dict[FileIdentity, Path]
"""The files of a folder, by what they are."""


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


def compare_paths(first: Path, second: Path, only: Collection[str] = ()) -> Comparison | FolderComparison:
    """Compare two files or two folders. A file and a folder: the file of the folder that belongs to it.

    Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError` for a file that is unreadable or holds no frame,
    for a folder without episodes, and if nothing belongs together.
    """
    if first.is_dir() and second.is_dir():
        return _compare_folders(first, second, only)
    if first.is_dir():
        first = _counterpart(first, second)
    elif second.is_dir():
        second = _counterpart(second, first)
    return compare_files(first, second, only)


def _compare_folders(first: Path, second: Path, only: Collection[str]) -> FolderComparison:
    one, two = _same_matches(_files(first), _files(second))
    pairs = _pairs(one, two)
    if not pairs:
        if all(len({(name.match, name.episode) for name in side}) == 1 for side in (one, two)):
            raise EpisodeFileError(second, f"different episodes than in {first}; name the two files")
        raise EpisodeFileError(
            second, f"no file in it belongs to one of {first}: {_there(one)} there, {_there(two)} here"
        )
    compared = [compare_files(left, right, only) for left, right in pairs]
    lefts, rights = {left for left, _ in pairs}, {right for _, right in pairs}
    lonely = [[str(p) for p in side.values() if p not in paired] for side, paired in ((one, lefts), (two, rights))]
    identical = all(pair.identical for pair in compared) and not lonely[0] and not lonely[1]
    return FolderComparison(str(first), str(second), identical, compared, lonely[0], lonely[1])


def _there(side: Files) -> str:
    matches = {name.match for name in side}
    episodes = sorted({name.episode for name in side})
    shown = ", ".join(episodes[:3]) + (", ..." if len(episodes) > 3 else "")
    return f"{len(matches)} match{'es' if len(matches) != 1 else ''} with episode {shown}"


def _files(folder: Path) -> Files:
    """The files with facts in a folder (of a data folder: its dataset), by what they are."""
    root = folder / "episodes" if (folder / "episodes").is_dir() else folder
    found: Files = {}
    for path in sorted(
        p for p in root.rglob("*") if (p.suffix.lower() == ".parquet" or is_text_file(p)) and p.is_file()
    ):
        name = identify(path, root)
        if name is None:
            continue
        if name in found:
            raise EpisodeFileError(path, f"means the same episode as {found[name]}: compare folders of one form each")
        found[name] = path
    if not found:
        raise EpisodeFileError(folder, "no episodes in it")
    return found


def _same_matches(one: Files, two: Files) -> tuple[Files, Files]:
    """Matches that belong together under one name: of the same id, else the same seed; else if there is one each."""
    ids = [{name.match for name in side} for side in (one, two)]
    if len(ids[0]) == len(ids[1]) == 1:
        return _renamed(one, {}), _renamed(two, {})
    seeds = [_by_seed(side) for side in (one, two)]
    names = {match: match for match in ids[0] & ids[1]}
    others: list[dict[str, str]] = [{}, {}]
    for seed in seeds[0].keys() & seeds[1].keys():
        left, right = seeds[0][seed], seeds[1][seed]
        # Several matches of one seed, or one that has a counterpart already: nothing says which belong together.
        if len(left) == len(right) == 1 and not {*left, *right} & names.keys():
            others[0][left[0]] = others[1][right[0]] = f"seed {seed}"
    own = [{match: match for match in side} for side in ids]
    return _renamed(one, own[0] | others[0]), _renamed(two, own[1] | others[1])


def _by_seed(side: Files) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for match, seed in sorted({(name.match, name.seed) for name in side if name.seed is not None}):
        found.setdefault(seed, []).append(match)
    return found


def _renamed(side: Files, matches: Mapping[str, str]) -> Files:
    return {name._replace(match=matches.get(name.match, ""), seed=None): path for name, path in side.items()}


def _pairs(one: Files, two: Files) -> list[tuple[Path, Path]]:
    """The same player's first. Then the same episode: what all players agree on belongs to every player's file."""
    pairs = [(path, two[name]) for name, path in one.items() if name in two]
    taken = {path for pair in pairs for path in pair}
    rest: list[dict[tuple[str, str], list[tuple[str | None, Path]]]] = [{}, {}]
    for side, left_over in zip((one, two), rest, strict=True):
        for name, path in side.items():
            if path not in taken:
                left_over.setdefault((name.match, name.episode), []).append((name.player, path))
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
    wanted = identify(file, file.resolve().parent.parent if file.is_absolute() else file.parent)
    if wanted is None:
        raise EpisodeFileError(file, "holds one peer's own part only, no canonical frames")
    there = _files(folder)
    candidates = {name: path for name, path in there.items() if name.episode == wanted.episode}
    if len({name.match for name in there}) > 1:
        candidates = {name: path for name, path in candidates.items() if name.match == wanted.match}
    if wanted.player is not None:
        exact = {n: path for n, path in candidates.items() if n.player in (wanted.player, None)}
        candidates = exact or candidates
    if len(candidates) != 1:
        raise EpisodeFileError(folder, f"{len(candidates)} files in it belong to {file.name}: name one of them")
    return next(iter(candidates.values()))
