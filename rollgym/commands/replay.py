"""``rollgym replay``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rollgym.commands.exits import refuse
from rollgym.commands.output import OutputFailed, out, say
from rollgym.processes.own_process import not_to_be_ended

if TYPE_CHECKING:
    from rollgym.dataset.playback import Recording
    from rollgym.games.contract import Game


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
    game: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A game beyond the built-in ones whose code may be imported; may be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Watch an episode: it is played again from its seed and inputs, as one of the players saw it.

    At a rollback the border turns red, and it says what was predicted and what was played; a GIF keeps the wrong guess
    as a red shadow. Exit code: 0 shown, 2 it cannot be.

    Example: rollgym replay data/episodes/m0123456789abcdef01234567/episode_000000 --gif episode.gif
    """
    from rollgym.checking.raised import described
    from rollgym.dataset.playback import PlaybackError, find_recording, game_of
    from rollgym.protocol.files.parquet import EpisodeFileError

    first, last = _range(frames)
    picture = None if gif is None else gif.absolute()  # the game may change the current folder
    try:
        recording = find_recording(episode, player)
        with (
            not_to_be_ended(),
            closing(game_of(recording, game or (), "ansi" if gif is None else "rgb_array")) as played,
        ):
            speed = fps or recording.header.settings.fps
            if gif is not None and picture is not None:
                _write_gif(gif, picture, recording, played, speed, first, last)
            else:
                _show(recording, played, speed, first, last, step)
    except (EpisodeFileError, FileNotFoundError, PlaybackError) as error:
        refuse(str(error))
    except KeyboardInterrupt:
        raise typer.Exit from None
    except (typer.Exit, OutputFailed):
        raise
    except BaseException as error:  # noqa: BLE001 - the game is played again, and may raise anything
        refuse(f"{episode}: cannot be shown: its game raised {described(error)}")


def _range(text: str | None) -> tuple[int, int | None]:
    if text is None:
        return 0, None
    start, colon, end = text.partition(":")
    if not colon or not (start or "0").isdecimal() or not (end or "0").isdecimal():
        raise typer.BadParameter(f"{text!r}: expected FROM:TO, such as 100:250", param_hint="--frames")
    return int(start or 0), int(end) if end else None


def _write_gif(
    gif: Path, place: Path, recording: Recording, game: Game, fps: float, first: int, last: int | None
) -> None:
    try:
        from rollgym.dataset.playback_gif import look, stride_of, write_gif
    except ImportError:
        refuse("pictures need Pillow: pip install 'rollgym[render]'")
    from rollgym.dataset.playback import play_back

    try:
        stride = stride_of(fps)
        moments = play_back(recording, game, look, first=first, last=last, every=stride)
        pictures, rollbacks = write_gif(place, moments, recording, game, fps, stride)
    except OSError as error:
        refuse(f"{gif}: cannot be written: {error.strerror or error}")
    say(f"{gif}: {pictures} pictures, {rollbacks} rollbacks, {place.stat().st_size / 1e6:.1f} MB")


def _show(recording: Recording, game: Game, fps: float, first: int, last: int | None, step: bool) -> None:
    from rich.console import Console

    from rollgym.dataset.playback import play_back
    from rollgym.dataset.playback_terminal import Screen, list_all, look, play, stride_of
    from rollgym.dataset.playback_terminal import step as step_through

    console = Console(file=out(), highlight=False)
    live = console.is_terminal and not step
    moments = play_back(recording, game, look, first=first, last=last, every=stride_of(fps) if live else 1)
    screen = Screen(recording, game)
    if step:
        step_through(console, screen, moments, lambda: typer.getchar() not in ("q", "\x03", "\x1b"))
    elif live:
        play(console, screen, moments, fps)
    else:
        list_all(console, screen, moments)
