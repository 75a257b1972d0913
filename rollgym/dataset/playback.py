"""An episode played again, with what one player was shown while it was played.

The truth follows from the seed and the inputs. What a player was shown follows from its rollbacks: one that came at
frame ``at`` and went back to frame ``to`` says that until then this peer had simulated ``to .. at - 1`` with another
input than the real one. So frames ``to + 1 .. at`` were shown as that guess has them. At ``at`` it became something
else, and on that the player acted: the truth, or a better guess that fell to the next rollback.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from rollgym.dataset.sources import Source, sources
from rollgym.dataset.stored_spaces import observed_columns
from rollgym.games.contract import Game, JointInput
from rollgym.games.errors import GameError
from rollgym.games.frame_limit import limited
from rollgym.games.identity import identity
from rollgym.games.record.replay import ReplayError, recorded_inputs
from rollgym.games.registry import is_built_in, make
from rollgym.games.spaces.codec import CodecError
from rollgym.games.spaces.described import flattener, leaves
from rollgym.protocol.episode.export import Canonical, Header, Own, RollbackEvent
from rollgym.protocol.files.parquet import read_episode
from rollgym.protocol.messages import GameIdentity, first_difference

V = TypeVar("V")

RENDER_MODE = "render_mode"
"""The parameter by which environments are told to draw."""


class PlaybackError(Exception):
    """An episode that cannot be played here. The text is for people."""


@dataclass(frozen=True)
class Recording:
    """What playing an episode again takes."""

    path: Path
    header: Header
    canonical: Canonical
    own: Own | None
    """Of the player through whose eyes it is seen, if that is known."""


@dataclass(frozen=True)
class Moment(Generic[V]):
    """One frame: the state after ``frame`` steps."""

    frame: int
    truth: V
    """As it is in the dataset."""
    shown: V | None = None
    """As the player first saw it, where that was another state."""
    became: V | None = None
    """As it was when the player acted, where that was not the truth either. Other than ``shown`` after a rollback."""
    exact: bool = True
    """What is known of the observation that the player acted on agrees with this."""
    rollbacks: list[RollbackEvent] = field(default_factory=list)
    """That came when the player was here, before it acted."""
    inputs: JointInput | None = None
    """What is done next; None at the end."""

    @property
    def before(self) -> V:
        """What the player saw first."""
        return self.truth if self.shown is None else self.shown

    @property
    def after(self) -> V:
        """What it saw after the rollbacks that came here."""
        return self.truth if self.became is None else self.became


def find_recording(path: Path, player: int | None) -> Recording:
    """The episode at ``path`` (a file, or a folder with one episode) as ``player`` saw it.

    Without a player it is the one who wrote the file, or the first whose own part is there. Raises
    :class:`PlaybackError`, ``FileNotFoundError``, :class:`~rollgym.protocol.files.parquet.EpisodeFileError`.
    """
    found: list[Source] = list(sources(path))
    if not found and path.is_file():
        raise PlaybackError(f"{path}: one player's own part, which has no frames: name its folder, {path.parent}")
    if player is not None:
        found = [source for source in found if source.writer in (None, player)]
    if len({(source.layout.header.match, source.layout.header.episode) for source in found}) > 1:
        raise PlaybackError(f"{path}: {len(found)} episodes in it, expected one; name one of their files")
    if not found:
        raise PlaybackError(f"{path}: no episode" + (f" of player {player}" if player is not None else "") + " in it")
    source = found[0]
    if player is not None and player not in source.own:
        raise PlaybackError(f"{source.path}: no own part of player {player}, expected one of {sorted(source.own)}")
    stored = read_episode(source.path)
    assert stored.canonical is not None
    own = stored.own
    if source.own and own is None:
        own = read_episode(source.own[min(source.own) if player is None else player]).own
    return Recording(source.path, stored.header, stored.canonical, own)


def game_of(recording: Recording, trusted: Collection[str] = (), render_mode: str | None = None) -> Game:
    """The game that was played. ``trusted``: games beyond the built-in ones whose code may be imported.

    With a ``render_mode`` such a game is constructed with it, if it takes it: that is how it looks, not what it is.
    Raises :class:`PlaybackError` if it is not here in that form.
    """
    wanted = recording.header.game
    try:
        game = make(wanted.id, wanted.parameters, foreign=wanted.id in trusted)
    except GameError as error:
        hint = "" if is_built_in(wanted.id) else f" (trust it with --game {wanted.id})"
        raise PlaybackError(f"{recording.path}: cannot be played here: {error}{hint}") from error
    change = first_difference(wanted, identity(game.spec))
    if change is not None:
        game.close()
        raise PlaybackError(f"{recording.path}: game.{change.field} was {change.first!r}, here it is {change.second!r}")
    if render_mode is not None and not is_built_in(wanted.id):
        game = _drawing(game, wanted, render_mode)
    return limited(game, recording.header.settings.frame_limit)


def _drawing(game: Game, wanted: GameIdentity, render_mode: str) -> Game:
    """The same game made with a render mode, or ``game`` itself if it cannot be had."""
    try:
        drawing = make(wanted.id, {**wanted.parameters, RENDER_MODE: render_mode})
    except (AssertionError, ValueError):  # it does not take the parameter, or not this mode
        return game
    made = identity(drawing.spec)
    given = {name: value for name, value in made.parameters.items() if name != RENDER_MODE or name in wanted.parameters}
    if RENDER_MODE in given:
        given[RENDER_MODE] = wanted.parameters[RENDER_MODE]
    if first_difference(wanted, msgspec.structs.replace(made, parameters=given)) is not None:
        drawing.close()
        return game
    game.close()
    return drawing


def not_shown(game: Game, what: str) -> PlaybackError:
    """The error for a game without a picture or text, and what helps."""
    hint = "" if is_built_in(game.spec.id) else '; construct it with render_mode="rgb_array" or "ansi"'
    return PlaybackError(f"game {game.spec.id}: {what}{hint}")


def play_back(
    recording: Recording,
    game: Game,
    look: Callable[[Game], V],
    *,
    first: int = 0,
    last: int | None = None,
    every: int = 1,
) -> Iterator[Moment[V]]:
    """The frames ``first .. last`` (of ``0 .. T``). ``look`` says what the game's present state looks like.

    Of ``every`` frames only one is looked at, and those at which rollbacks came. Raises :class:`PlaybackError` for
    inputs that are not the game's.
    """
    try:
        inputs = recorded_inputs(recording.header, recording.canonical, game.spec)
    except ReplayError as error:
        raise PlaybackError(f"{recording.path}: {error}") from error
    guesses = _Guesses(recording, game, inputs)
    game.reset(recording.header.seed)
    frames = recording.header.frames
    snapshots: dict[int, Any] = {}
    for frame in range(min(frames, frames if last is None else last) + 1):
        snapshots[frame] = game.save()
        snapshots.pop(frame - guesses.deepest - 1, None)
        came = guesses.coming(frame, frames)
        if frame >= first and (came or (frame - first) % every == 0):
            truth = look(game)
            shown, exact = guesses.see(frame, snapshots, look, acted=False)
            became = shown
            if came:
                became, exact = guesses.see(frame, snapshots, look, acted=True)
            yield Moment(frame, truth, shown, became, exact, came, inputs[frame] if frame < frames else None)
        if frame < frames:
            game.step(inputs[frame])


class _Guesses:
    """What a player took others' inputs to be, and when."""

    def __init__(self, recording: Recording, game: Game, inputs: list[JointInput]) -> None:
        self._game = game
        self._inputs = inputs
        own = recording.own
        self._events = [event for event in own.rollbacks if self._usable(event)] if own is not None else []
        self.deepest = max((event.at_frame - event.to_frame for event in self._events), default=0)
        self._by_frame: dict[int, list[RollbackEvent]] = {}
        for event in self._events:
            for frame in range(event.to_frame + 1, min(event.at_frame, len(inputs)) + 1):
                self._by_frame.setdefault(frame, []).append(event)
        self._seen = _Seen(own, game) if own is not None and "seen_frame" in own.columns else None

    def _usable(self, event: RollbackEvent) -> bool:
        """A file may hold anything."""
        spec = self._game.spec
        if not (0 <= event.player < spec.players and 0 <= event.to_frame < event.at_frame):
            return False
        try:
            spec.input_codecs[event.player].decode(event.predicted)
        except CodecError:
            return False
        return event.to_frame <= len(self._inputs)

    def see(
        self, frame: int, snapshots: dict[int, Any], look: Callable[[Game], V], *, acted: bool
    ) -> tuple[V | None, bool]:
        """What ``frame`` was seen as (None: the truth), and whether that agrees with what is known of it.

        The game's present state is the truth of that frame, before and after.
        """
        wrong, seen = self._believed(frame, acted), None
        if wrong:
            self._go(frame, wrong, snapshots)
            if self._game.digest(self._game.save()) != self._game.digest(snapshots[frame]):
                seen, exact = look(self._game), self._agrees(frame)
            self._game.load(snapshots[frame])
        return (None, not self._known_otherwise(frame)) if seen is None else (seen, exact)

    def _believed(self, frame: int, acted: bool) -> list[RollbackEvent]:
        """Those whose guess was believed at ``frame``: of each player the lowest, which came first.

        A later one's guess was made only after that one had been corrected. When the player ``acted``, the rollbacks
        that came at this frame were done.
        """
        first: dict[int, RollbackEvent] = {}
        for event in self._by_frame.get(frame, ()):
            if acted and event.at_frame <= frame:
                continue
            known = first.get(event.player)
            if known is None or event.to_frame < known.to_frame:
                first[event.player] = event
        return list(first.values())

    def coming(self, frame: int, last: int) -> list[RollbackEvent]:
        """Those that came when the player was at ``frame``; at the last, also those that came later."""
        return [event for event in self._events if event.at_frame == frame or (frame == last and event.at_frame > last)]

    def _go(self, frame: int, wrong: list[RollbackEvent], snapshots: dict[int, Any]) -> None:
        """Bring the game to what was shown as ``frame``."""
        start = min(event.to_frame for event in wrong)
        self._game.load(snapshots[start])
        for step in range(start, frame):
            believed = list(self._inputs[step])
            for event in wrong:
                if event.to_frame <= step:
                    believed[event.player] = event.predicted
            if self._game.step(tuple(believed)).terminal:
                return  # a peer waits at an end that is a guess

    def _agrees(self, frame: int) -> bool:
        """Whether the present state looks as the player is known to have seen it; True if nothing is known."""
        if self._seen is None or frame not in self._seen.frames:
            return True
        observation = self._game.observe_agents((self._seen.agent,))[0]
        return self._seen.frames[frame] == self._seen.values(observation)

    def _known_otherwise(self, frame: int) -> bool:
        """Whether the player is known to have seen something else than the truth."""
        return self._seen is not None and frame in self._seen.frames


class _Seen:
    """What the player's policy acted on where that was not the truth: the bytes of every part, by frame."""

    def __init__(self, own: Own, game: Game) -> None:
        spec = game.spec
        self.agent = spec.seats[own.player]
        space = spec.observation_spaces[self.agent]
        parts = leaves(space)
        self._types = [leaf.dtype.newbyteorder("<") for leaf in parts]
        self._flatten = flattener(space)
        names = observed_columns(space, spec.agents[self.agent], own.columns, "seen")
        columns = [own.columns[names[leaf.path]].array() for leaf in parts]
        self.frames = {
            int(frame): tuple(column[row].tobytes() for column in columns)
            for row, frame in enumerate(own.columns["seen_frame"].array())
        }

    def values(self, observation: Any) -> tuple[bytes, ...]:
        """The same of an observation."""
        parts = zip(self._flatten(observation), self._types, strict=True)
        return tuple(np.asarray(value, dtype).tobytes() for value, dtype in parts)


def rollback_text(event: RollbackEvent, game: Game) -> str:
    """A rollback in words."""
    spec = game.spec
    agent = spec.seats[event.player]
    try:
        guess, fact = spec.action_text(agent, event.predicted), spec.action_text(agent, event.actual)
    except CodecError:
        guess, fact = event.predicted.hex(), event.actual.hex()
    frames = f"{event.depth} frame{'s' if event.depth != 1 else ''}"
    name = spec.agents[agent]
    who = f"player {event.player}" + ("" if name == f"player_{event.player}" else f" ({name})")
    return f"rolled back {frames}: {who} predicted {guess}, played {fact}"


def inputs_text(moment: Moment[Any], game: Game) -> str:
    """What every player does next."""
    if moment.inputs is None:
        return "the end"
    spec = game.spec
    seats = zip(spec.seats, moment.inputs, strict=True)
    return "  ".join(f"{spec.agents[agent]}: {spec.action_text(agent, action)}" for agent, action in seats)
