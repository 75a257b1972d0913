"""``rollgym replay``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rollgym.commands.exits import refuse

if TYPE_CHECKING:
    from games.contract import Game
    from rollgym.playback import Moment, Recording

T = TypeVar("T")


def replay(
    episode: Annotated[
        Path, typer.Argument(help="An episode's folder in a data folder, or a peer's export.", show_default=False)
    ],
    player: Annotated[
        int | None,
        typer.Option(min=0, help="Through whose eyes.  [default: the first whose part is there]", show_default=False),
    ] = None,
    frames: Annotated[
        str | None, typer.Option(metavar="FROM:TO", help="Only these frames: 100:250.", show_default=False)
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(min=0.1, max=1000, help="Frames a second.  [default: as it was played]", show_default=False),
    ] = None,
    step: Annotated[bool, typer.Option("--step", help="Wait for a key after every frame; q ends.")] = False,
    gif: Annotated[Path | None, typer.Option(help="Write a GIF instead.", show_default=False)] = None,
) -> None:
    """Watch an episode: it is played again from its seed and inputs, as one of the players saw it.

    At a rollback the border turns red, and it says what was predicted and what was played; a GIF keeps the wrong guess
    as a red shadow. Exit code: 0 shown, 2 it can not be.

    Example: rollgym replay data/episodes/m0123456789abcdef01234567/episode_000000 --gif episode.gif
    """
    from protocol.parquet import EpisodeFileError
    from rollgym.playback import PlaybackError, find_recording, game_of

    first, last = _range(frames)
    try:
        recording = find_recording(episode, player)
        game = game_of(recording)
        try:
            speed = fps or recording.header.settings.fps
            if gif is not None:
                _write_gif(gif, recording, game, speed, first, last)
            else:
                _show(recording, game, speed, first, last, step)
        finally:
            game.close()
    except (EpisodeFileError, FileNotFoundError, PlaybackError) as error:
        refuse(str(error))
    except KeyboardInterrupt:
        raise typer.Exit from None


def _range(text: str | None) -> tuple[int, int | None]:
    if text is None:
        return 0, None
    start, colon, end = text.partition(":")
    if not colon or not (start or "0").isdecimal() or not (end or "0").isdecimal():
        raise typer.BadParameter(f"{text!r}: expected FROM:TO, such as 100:250", param_hint="--frames")
    return int(start or 0), int(end) if end else None


def _between(moments: Iterable[Moment[T]], first: int, last: int | None) -> Iterator[Moment[T]]:
    return (moment for moment in takewhile(lambda m: last is None or m.frame <= last, moments) if moment.frame >= first)


def _write_gif(gif: Path, recording: Recording, game: Game, fps: float, first: int, last: int | None) -> None:
    try:
        from rollgym.playback_gif import look, write_gif
    except ImportError:
        refuse("pictures need Pillow: pip install 'rollgym[render]'")
    from rollgym.playback import play_back

    try:
        pictures, rollbacks = write_gif(
            gif, _between(play_back(recording, game, look), first, last), recording, game, fps
        )
    except OSError as error:
        refuse(f"{gif}: can not be written: {error.strerror or error}")
    typer.echo(f"{gif}: {pictures} pictures, {rollbacks} rollbacks, {gif.stat().st_size / 1e6:.1f} MB")


def _show(recording: Recording, game: Game, fps: float, first: int, last: int | None, step: bool) -> None:
    from rich.console import Console

    from rollgym.playback import play_back
    from rollgym.playback_terminal import Screen, list_all, look, play
    from rollgym.playback_terminal import step as step_through

    console = Console(highlight=False)
    moments = _between(play_back(recording, game, look), first, last)
    screen = Screen(recording, game)
    if step:
        step_through(console, screen, moments, lambda: typer.getchar() not in ("q", "\x03", "\x1b"))
    elif console.is_terminal:
        play(console, screen, moments, fps)
    else:
        list_all(console, screen, moments)
