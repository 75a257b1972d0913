"""Export as Minari datasets: one for each game whose spaces differ.

Minari knows one agent and one reward. So observations and actions are Dicts by agent, the reward is the agents' sum,
and what each agent got is among the infos, which have ``T + 1`` rows: row 0 from ``reset``, row ``t + 1`` from the step
of frame ``t``. Every info key of the game is there in every row; ``present/...`` says whether it really was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from gymnasium import spaces

from rollgym.dataset.export.plan import NothingToExportError, Plan, by_spaces
from rollgym.dataset.flat_infos import info_fields, info_json, is_json
from rollgym.dataset.json_text import to_json
from rollgym.dataset.load import Episode, load_sources
from rollgym.dataset.sources import Source
from rollgym.dataset.stored_spaces import space_of
from rollgym.protocol.column_names import is_writable, joined
from rollgym.protocol.messages import GameIdentity

Fields = Mapping[tuple[str, str | None], pa.Field]

EXTRA = "Minari is not installed: pip install 'rollgym[minari]'"


def export_minari(found: Plan, out: Path, on_episode: Callable[[], None]) -> list[str]:
    """Write the datasets below ``out``; their ids, for ``minari.load_dataset`` with MINARI_DATASETS_PATH=``out``.

    Raises :class:`NothingToExportError` for a dataset that is there already, or without Minari; ``OSError``, and
    :class:`~rollgym.protocol.files.parquet.EpisodeFileError`.
    """
    try:
        import minari  # noqa: F401
    except ImportError as error:
        raise NothingToExportError(EXTRA) from error
    if not is_writable(os.fspath(out)):
        raise NothingToExportError(f"{out}: Minari takes no folder whose name is not Unicode text")
    named = {f"rollgym/{name}-v0": group for name, group in by_spaces(found).items()}
    for dataset_id in named:
        if (out / dataset_id).exists():
            raise NothingToExportError(f"{out / dataset_id}: there already; remove it, or choose another folder")
    for dataset_id, group in named.items():
        _write(dataset_id, group, out, on_episode)
    return list(named)


def _write(dataset_id: str, group: list[Source], out: Path, on_episode: Callable[[], None]) -> None:
    import minari

    game = group[0].layout.header.game
    fields = info_fields(source.layout for source in group)
    bots: set[str] = set()
    about: list[dict[str, Any]] = []

    def buffers() -> Iterator[Any]:
        for episode in load_sources(iter(group)):
            origin = episode.provenance
            bots.update(str(part["policy"].get("name", "?")) for part in origin["players"].values())
            about.append({"rollgym": to_json(origin)})
            yield _buffer(episode, fields)
            on_episode()

    try:
        with _datasets_path(out.resolve()), warnings.catch_warnings():
            # It would like an environment, an author, a mail address and a link, which nobody knows here.
            warnings.simplefilter("ignore", UserWarning)
            dataset = minari.create_dataset_from_buffers(
                dataset_id,
                buffers(),  # a list of all would have to fit into memory
                observation_space=_by_agent(game, game.observation_spaces),
                action_space=_by_agent(game, game.action_spaces),
                description=f"{game.id} {game.version}, played by peers under rollback, recorded by rollgym.",
                data_format="parquet",
                jpeg_encoding=False,  # which would lose what was seen
            )
            dataset.storage.update_episode_metadata(about)
            dataset.storage.update_metadata({"algorithm_name": ", ".join(sorted(bots)) or "unknown"})
    except BaseException:
        shutil.rmtree(out / dataset_id, ignore_errors=True)  # half a dataset would look like a whole one
        raise


def _by_agent(game: GameIdentity, descriptions: tuple[dict[str, Any], ...]) -> spaces.Dict:
    return spaces.Dict({agent: space_of(text) for agent, text in zip(game.agents, descriptions, strict=True)})


def _buffer(episode: Episode, fields: Fields) -> Any:
    from minari.data_collector import EpisodeBuffer

    game = episode.header.game
    rewards = np.stack([episode.rewards[agent] for agent in game.agents], axis=1)
    terminated = np.stack([episode.terminations[agent] for agent in game.agents], axis=1)
    truncated = np.stack([episode.truncations[agent] for agent in game.agents], axis=1)
    over = (terminated | truncated).all(axis=1)
    action_spaces = zip(game.agents, game.action_spaces, strict=True)
    return EpisodeBuffer(
        seed=episode.header.seed,
        observations=episode.observations,
        actions={agent: _stacked(space_of(text), episode.actions[agent]) for agent, text in action_spaces},
        rewards=rewards.sum(axis=1),
        terminations=terminated.all(axis=1),
        truncations=over & ~terminated.all(axis=1),
        infos=_infos(episode, fields),
    )


def _stacked(space: spaces.Space[Any], values: Any) -> Any:
    """Actions as arrays: those of a Dict or a Tuple are a list of dicts or tuples."""
    if isinstance(space, spaces.Dict):
        return {key: _stacked(part, [value[key] for value in values]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_stacked(part, [value[index] for value in values]) for index, part in enumerate(space.spaces))
    return np.array(values, dtype=space.dtype).reshape(len(values), *(space.shape or ()))


def _infos(episode: Episode, fields: Fields) -> dict[str, list[Any]]:
    """Flat, lists, and of equal keys and types in all episodes: Minari reads nothing else back as it was."""
    infos: dict[str, list[Any]] = {}
    for index, agent in enumerate(episode.agents):
        infos[joined(["reward", agent], "/")] = [0.0, *episode.rewards[agent].tolist()]
        infos[joined(["terminated", agent], "/")] = [False, *episode.terminations[agent].tolist()]
        infos[joined(["truncated", agent], "/")] = [False, *episode.truncations[agent].tolist()]
        sources = episode.input_source[:, index].tolist()
        infos[joined(["input_source", agent], "/")] = [*sources[:1], *sources]
    for (agent, key), field in fields.items():
        rows = episode.infos[agent]
        if key is None:
            infos[joined(["info", agent], "/")] = [info_json(row) for row in rows]
            continue
        values = [_cell(row[key], field) if key in row else _absent(field.type) for row in rows]
        infos[joined(["info", agent, key], "/")] = values
        infos[joined(["present", agent, key], "/")] = [key in row for row in rows]
    return infos


def _cell(value: Any, field: pa.Field) -> Any:
    if is_json(field):
        return info_json(value)
    return value.item() if isinstance(value, np.generic) else value


def _absent(kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return ""
    return False if pa.types.is_boolean(kind) else 0.0 if pa.types.is_floating(kind) else 0


@contextlib.contextmanager
def _datasets_path(out: Path) -> Iterator[None]:
    """Minari takes the place of its datasets from the environment only."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = os.fspath(out)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
