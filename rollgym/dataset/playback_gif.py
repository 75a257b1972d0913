"""An episode as a GIF: what the player saw.

At a rollback the frame flashes, and what had been shown and was wrong stays for a while as a red shadow.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rollgym.dataset.playback import Moment, PlaybackError, Recording, inputs_text, not_shown, rollback_text
from rollgym.games.contract import Game

Picture = NDArray[np.uint8]

MOST_PER_SECOND = 25
"""Pictures: viewers show a GIF of more slower than it should be."""
FLASH = 0.5
"""Seconds for which a rollback is seen."""
BORDER = 6
CAPTION = 44
"""Pixels below the picture, for two lines of text."""
_DARK, _TEXT, _DIM, _CALM, _RED = (12, 14, 26), (214, 220, 236), (130, 140, 170), (44, 52, 84), (255, 64, 64)

MOST_PICTURES = 1500
"""They are all in memory: a minute at 25 a second."""
SMALLEST = 400
"""Pixels: pictures less wide than this are enlarged, so that the text below has room."""
_OWN_COLOURS, _SAMPLE = 128, 24
"""Colours of the palette that are the game's, and the pictures that are looked at for them."""
_CUBE = [(r, g, b) for r in range(0, 256, 51) for g in range(0, 256, 63) for b in range(0, 256, 85)]
"""The other colours: something for whatever comes up later."""


class _Flash(NamedTuple):
    """A rollback that is still seen."""

    until: int
    text: str
    shadow: NDArray[np.float64] | None
    """Per pixel, how much brighter the guess was there than the truth: 0 to 1."""


def look(game: Game) -> Picture:
    """The picture of the present state. Raises :class:`PlaybackError` if the game draws none."""
    picture = game.render()
    if picture is None:
        raise not_shown(game, "it draws no picture")
    return picture


def stride_of(fps: float) -> int:
    """How many frames go by between two pictures."""
    return max(1, math.ceil(fps / MOST_PER_SECOND))


def write_gif(
    path: Path, moments: Iterable[Moment[Picture]], recording: Recording, game: Game, fps: float, stride: int
) -> tuple[int, int]:
    """Write a GIF that plays ``fps`` frames of the episode a second. How many pictures and rollbacks are in it.

    ``moments`` has every ``stride``-th frame, and those with rollbacks.

    Raises :class:`PlaybackError` if there is no frame, ``OSError`` if the disk refuses.
    """
    pictures = _Pictures()
    flash: _Flash | None = None
    rollbacks = 0
    first: int | None = None
    for moment in moments:
        first = moment.frame if first is None else first
        rollbacks += len(moment.rollbacks)
        if moment.rollbacks:
            text = rollback_text(max(moment.rollbacks, key=lambda event: event.depth), game)
            shadow = None if moment.shown is None else _shadow(moment.shown, moment.after)
            flash = _Flash(moment.frame + max(stride, round(FLASH * fps)), text, shadow)
        elif flash is not None and moment.frame >= flash.until:
            flash = None
        if (moment.frame - first) % stride == 0:
            if (moment.frame - first) // stride >= MOST_PICTURES:
                raise PlaybackError(f"more than {MOST_PICTURES} pictures: choose --frames {first}:{moment.frame - 1}")
            pictures.add(_draw(moment, flash, recording, game))
    if first is None:
        raise PlaybackError(f"{recording.path}: no frame to show")
    made = pictures.all()
    _save(path, made, stride / fps)
    return len(made), rollbacks


def _draw(moment: Moment[Picture], flash: _Flash | None, recording: Recording, game: Game) -> Image.Image:
    # A guess that has just been found out is history: it is seen as the shadow of what came in its place.
    seen = moment.after if moment.rollbacks else moment.before
    guessed = seen is not moment.truth
    if flash is not None and flash.shadow is not None:
        seen = (seen * (1 - flash.shadow) + np.array(_RED) * flash.shadow).astype(np.uint8)
    times = -(-SMALLEST // seen.shape[1])
    seen = seen.repeat(times, axis=0).repeat(times, axis=1)
    height, width = seen.shape[:2]
    image = Image.new("RGB", (width + 2 * BORDER, height + 2 * BORDER + CAPTION), _DARK)
    draw = ImageDraw.Draw(image)
    colour = _RED if flash is not None else _CALM
    draw.rectangle((0, 0, width + 2 * BORDER - 1, height + 2 * BORDER - 1), fill=colour)
    image.paste(Image.fromarray(np.ascontiguousarray(seen)), (BORDER, BORDER))
    font = _font(width)
    header = recording.header
    whose = "" if recording.own is None else f", seen by {header.game.players[recording.own.player]}"
    head = f"episode {header.episode}{whose}, frame {moment.frame}/{header.frames}   {inputs_text(moment, game)}"
    top = height + 2 * BORDER + 4
    draw.text((BORDER + 2, top), head, fill=_TEXT, font=font)
    if flash is not None:
        draw.text((BORDER + 2, top + CAPTION // 2 - 2), flash.text, fill=_RED, font=font)
    elif guessed:
        guess = "a guess, not yet known to be wrong" if moment.exact else "a guess, as far as it is known"
        draw.text((BORDER + 2, top + CAPTION // 2 - 2), guess, fill=_DIM, font=font)
    return image


def _font(width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=max(8, min(14, width // 36)))


def _shadow(guess: Picture, truth: Picture) -> NDArray[np.float64]:
    light = guess.astype(np.int16).sum(axis=2) - truth.astype(np.int16).sum(axis=2)
    shadow: NDArray[np.float64] = np.clip(light / 300.0, 0.0, 1.0)[:, :, None]
    return shadow


class _Pictures:
    """Pictures with one palette, so that what does not move costs nothing."""

    def __init__(self) -> None:
        self._first: list[Image.Image] = []
        self._made: list[Image.Image] = []
        self._palette: Image.Image | None = None

    def add(self, picture: Image.Image) -> None:
        """The next one."""
        if self._palette is not None:
            self._made.append(self._reduced(picture, self._palette))
            return
        self._first.append(picture)
        if len(self._first) == _SAMPLE:
            self._choose()

    def all(self) -> list[Image.Image]:
        """All of them. At least one was added."""
        if self._palette is None:
            self._choose()
        return self._made

    def _choose(self) -> None:
        one = self._first[0]
        sample = Image.new("RGB", (one.width, one.height * 4))
        for place in range(4):
            sample.paste(self._first[place * (len(self._first) - 1) // 3], (0, place * one.height))
        ImageDraw.Draw(sample).rectangle((0, 0, 40, 40), fill=_RED)
        own = (sample.quantize(_OWN_COLOURS).getpalette() or [])[: 3 * _OWN_COLOURS]
        self._palette = Image.new("P", (1, 1))
        self._palette.putpalette(own + [part for colour in _CUBE for part in colour])
        self._made = [self._reduced(picture, self._palette) for picture in self._first]
        self._first = []

    @staticmethod
    def _reduced(picture: Image.Image, palette: Image.Image) -> Image.Image:
        return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _save(path: Path, pictures: list[Image.Image], seconds: float) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    milliseconds = max(20, round(1000 * seconds))
    try:
        with temporary.open("wb") as file:
            pictures[0].save(
                file,
                "GIF",
                save_all=True,
                append_images=pictures[1:],
                duration=milliseconds,
                loop=0,
                optimize=False,
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
