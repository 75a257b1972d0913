"""A bot's process, in which the peer, the game and the bot run, and the client's end of it."""

from __future__ import annotations
