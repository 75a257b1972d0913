"""Re-simulation: what an episode's seed and inputs give, whatever its file claims.

The server's audit and ``rollgym verify`` compare the result with the stored columns
(:func:`rollgym.protocol.parity.compare_episodes`); the first difference is the first frame that was not played as
stated.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollgym.games.codec import CodecError
from rollgym.games.columns import CanonicalBuilder
from rollgym.games.contract import Game, GameSpec, JointInput
from rollgym.protocol.episode import INPUT_IDLE, Canonical, ExportError, Header


class ReplayError(ValueError):
    """An episode that can not be played in this game at all. ``field`` names the place."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def replay(header: Header, canonical: Canonical, game: Game) -> Canonical:
    """Play the recorded inputs from ``header.seed`` and record them like a peer does.

    ``game`` must be the game the episode was played in, with the same parameters and frame limit. The result has
    ``header.frames`` frames, or fewer if the game ends earlier: nothing is stepped beyond a terminal frame.
    Memory is bounded by the inputs times the size of an observation. Raises :class:`ReplayError` for inputs that
    are not actions of the game, or are marked idle but do something.
    """
    inputs = recorded_inputs(header, canonical, game.spec)
    sources = _sources(header, canonical, game.spec)
    _check_idle(inputs, sources, game.spec)
    builder = CanonicalBuilder(game.spec)
    infos = game.reset(header.seed)
    builder.start(infos, game.observe(), game.digest(game.save()))
    every = header.settings.save_every
    for frame, (joint, source) in enumerate(zip(inputs, sources, strict=True)):
        outcome = game.step(joint)
        # A peer has digests of the states that it keeps snapshots of, and 0 elsewhere.
        digest = 0 if (frame + 1) % every else game.digest(game.save())
        builder.append(joint, source, outcome, game.observe(), digest)
        if outcome.terminal:
            break
    return builder.build()


def recorded_inputs(header: Header, canonical: Canonical, spec: GameSpec) -> list[JointInput]:
    """The joint inputs of an episode's frames, each checked to be an action. Raises :class:`ReplayError`."""
    if header.game.agents != spec.agents:
        raise ReplayError("header.game.agents", f"{header.game.agents}: expected {spec.agents}")
    per_player = []
    for agent, codec in zip(spec.seats, spec.input_codecs, strict=True):
        name = f"actions/{spec.agents[agent]}"
        column = canonical.columns.get(name)
        if column is None:
            raise ReplayError(f"columns.{name}", "missing")
        wanted = (header.frames, codec.width)
        if column.dtype != "|u1" or column.shape != wanted or len(column.data) != header.frames * codec.width:
            raise ReplayError(f"columns.{name}", f"{column.dtype}{column.shape}: expected |u1{wanted}")
        data, width = column.data, codec.width
        actions = [data[at : at + width] for at in range(0, len(data), width)]
        for action in set(actions):
            try:
                codec.decode(action)
            except CodecError as error:
                raise ReplayError(f"columns.{name}", f"frame {actions.index(action)}: {error}") from error
        per_player.append(actions)
    return list(zip(*per_player, strict=True))


def _check_idle(inputs: Sequence[JointInput], sources: Sequence[Sequence[int]], spec: GameSpec) -> None:
    """A frame filled in while its player was away holds that player's default input, and nothing else."""
    for frame, row in enumerate(sources):
        for player, source in enumerate(row):
            if source == INPUT_IDLE and inputs[frame][player] != spec.default_inputs[player]:
                place = f"columns.actions/{spec.agents[spec.seats[player]]}"
                raise ReplayError(place, f"frame {frame} is marked idle, but holds {inputs[frame][player].hex()}")


def _sources(header: Header, canonical: Canonical, spec: GameSpec) -> list[list[int]]:
    """Per frame and player. What the column says of NPCs is not read: it follows from the spec."""
    column = canonical.columns.get("input_source")
    if column is None:
        raise ReplayError("columns.input_source", "missing")
    wanted = (header.frames, len(spec.agents))
    if column.shape != wanted:
        raise ReplayError("columns.input_source", f"shape {column.shape}: expected {wanted}")
    try:
        rows: list[list[int]] = column.array()[:, spec.seats].tolist()
    except ExportError as error:
        raise ReplayError(f"columns.input_source.{error.field}", str(error)) from error
    return rows
