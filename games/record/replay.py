"""Re-simulation: what an episode's seed and inputs give, whatever its file claims.

The server's audit and ``rollgym verify`` compare the result with the stored columns
(:func:`rollgym.protocol.episode.parity.compare_episodes`); the first difference is the first frame that was not played
as stated.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollgym.games.contract import Game, GameSpec, JointInput
from rollgym.games.record.columns import CanonicalBuilder
from rollgym.games.spaces.codec import CodecError
from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.export import INPUT_GONE, INPUT_IDLE, INPUT_REAL, Canonical, Header
from rollgym.protocol.messages import PlaySettings


class ReplayError(ValueError):
    """An episode that cannot be played in this game at all. ``field`` names the place."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def replay(header: Header, canonical: Canonical, game: Game) -> Canonical:
    """Play the recorded inputs from ``header.seed`` and record them like a peer does.

    ``game`` must be the game the episode was played in, with the same parameters and frame limit. The result has
    ``header.frames`` frames, or fewer if the game ends earlier: nothing is stepped beyond a terminal frame.
    Memory is bounded by the inputs times the size of an observation. Raises :class:`ReplayError` for inputs that
    are not actions of the game, or are marked idle or gone where that cannot be.
    """
    inputs = recorded_inputs(header, canonical, game.spec)
    sources = _sources(header, canonical, game.spec)
    _check_sources(inputs, sources, header.settings, game.spec)
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


def _check_sources(
    inputs: Sequence[JointInput], sources: Sequence[Sequence[int]], settings: PlaySettings, spec: GameSpec
) -> None:
    """What was not sent by its owner holds that player's default input, and is only where the settings allow it.

    Filled in while its owner was away: where others play on without it (``away: play_on``). After its owner has left:
    where play goes on then (``on_disconnect: continue``), and to the end. Files from before the two had codes of their
    own mark the latter like the former.
    """
    left: dict[int, tuple[int, int]] = {}
    for frame, row in enumerate(sources):
        for player, source in enumerate(row):
            agent = spec.agents[spec.seats[player]]
            if player in left and source != left[player][1]:
                first, code = left[player]
                raise ReplayError("columns.input_source", f"{agent} is back at frame {frame}, gone ({code}) at {first}")
            if source == INPUT_REAL:
                continue
            if source not in (INPUT_IDLE, INPUT_GONE):
                raise ReplayError("columns.input_source", f"value {source} at frame {frame} of {agent}")
            if inputs[frame][player] != spec.default_inputs[player]:
                what = "idle" if source == INPUT_IDLE else "gone"
                place = f"columns.actions/{agent}"
                raise ReplayError(place, f"frame {frame} is marked {what}, but holds {inputs[frame][player].hex()}")
            if source == INPUT_IDLE and settings.away == "play_on":
                continue
            if settings.on_disconnect != "continue":
                ruled = "away: stall" if source == INPUT_IDLE else "on_disconnect: end"
                raise ReplayError(
                    "columns.input_source", f"{source} at frame {frame} of {agent}, in a match of {ruled}"
                )
            left.setdefault(player, (frame, source))


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
