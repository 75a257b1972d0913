"""The server's part of an experiment file. A key or value that is not listed here is an error that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import msgspec.inspect
from blake3 import blake3
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rollgym.games.contract import Game
from rollgym.games.npcs.npc import NPCS
from rollgym.games.registry import check_parameters, make
from rollgym.protocol.episode.export import MAX_FRAMES
from rollgym.protocol.messages import PlaySettings
from rollgym.protocol.seeds import SEED_LIMIT

MEBIBYTE = 1 << 20

# Ids and names stay short and printable: they appear in logs, in file metadata and in error texts.
Label = Annotated[str, Field(min_length=1, max_length=128)]


HttpAddress = Annotated[str, Field(pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$", max_length=512)]
Origin = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/?#\s]+)$", max_length=256)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NpcSettings(_Section):
    """Who drives an agent within the simulation. A file may give just the policy's name."""

    policy: Label
    parameters: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"policy": value} if isinstance(value, str) else value


class GameSettings(_Section):
    """Which game is played. Checked against the game's own declaration when the settings are read."""

    id: Label = "pong"
    parameters: dict[str, Any] = Field(default_factory=dict)
    npcs: dict[Label, NpcSettings] = Field(default_factory=dict)
    """Agents that a policy drives within the simulation. The players are the others."""

    @model_validator(mode="after")
    def _known(self) -> GameSettings:
        # GameError is a ValueError: pydantic adds the place in the file to its text.
        # What only the game itself knows is found out when it is described (games/description.py).
        check_parameters(self.id, self.parameters)
        return self

    def make(self) -> Game:
        """A new instance of the game. Raises :class:`~rollgym.games.errors.GameError`."""
        return make(self.id, self.all_parameters())

    def all_parameters(self) -> dict[str, Any]:
        """What :func:`rollgym.games.registry.make` takes: the parameters, and the NPCs if there are any."""
        npcs = {agent: npc.model_dump() for agent, npc in self.npcs.items()}
        return {**self.parameters, NPCS: npcs} if npcs else dict(self.parameters)


_SENT = {field.name: field for field in msgspec.inspect.type_info(PlaySettings).fields}  # type: ignore[attr-defined]


def _as_sent(name: str, **other: Any) -> Any:
    """The default and the bounds that :class:`PlaySettings` declares for one of its fields, and what is ``other``."""
    kind = _SENT[name].type
    if isinstance(kind, msgspec.inspect.UnionType):
        (kind,) = (one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType))
    bounds = {bound: getattr(kind, bound, None) for bound in ("gt", "ge", "lt", "le")}
    given = {bound: value for bound, value in bounds.items() if value is not None}
    return Field(**{"default": _SENT[name].default, **given, **other})


class Play(_Section):
    """How matches are played: :class:`rollgym.protocol.messages.PlaySettings`, with the game's own fps as default."""

    episodes: int = _as_sent("episodes")
    fps: float | None = _as_sent("fps", default=None)
    """Frames per second. None: what the game was made for."""
    frame_limit: int | None = _as_sent("frame_limit")
    input_delay: int = _as_sent("input_delay")
    max_prediction: int = _as_sent("max_prediction")
    save_every: int = _as_sent("save_every")
    checksum_interval: int = _as_sent("checksum_interval")
    disconnect_timeout: float = _as_sent("disconnect_timeout")
    start_timeout: float = _as_sent("start_timeout")
    away: Literal["stall", "play_on"] = _as_sent("away")
    away_limit: float = _as_sent("away_limit")
    on_disconnect: Literal["end", "continue"] = _as_sent("on_disconnect")
    on_desync: Literal["stop", "continue"] = _as_sent("on_desync")

    @model_validator(mode="after")
    def _agree(self) -> Play:
        self.settings(1.0)
        return self

    def settings(self, game_fps: float) -> PlaySettings:
        """What is sent to the players."""
        values = self.model_dump()
        values["fps"] = float(game_fps if self.fps is None else self.fps)
        return PlaySettings(**values)


class Experiment(_Section):
    """What is played, by whom, how often. Its hash goes into every file."""

    name: Label = "default"
    condition: Label = "default"
    game: GameSettings = Field(default_factory=GameSettings)
    play: Play = Field(default_factory=Play)
    seed: int | None = Field(default=None, ge=0, lt=SEED_LIMIT)
    """The first match's seed; later ones follow from it. None: random, and recorded."""
    matches: int | None = Field(default=None, ge=1)
    """Pair this many matches and no more. None: for ever."""
    upload_grace: float = Field(default=30.0, ge=0, le=86_400)
    """Seconds in which missing uploads are waited for before the verdict: after a restart of the server all of them,
    after a player has left at most two. Later ones change the verdict."""

    def digest(self) -> str:
        """BLAKE3 of the settings as sorted JSON, in hex: equal settings, equal digest."""
        return blake3(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


class Limits(_Section):
    """What one client, or all together, may take. Generous for research, tight against accidents."""

    connections: int = Field(default=1000, ge=1)
    """Control connections at a time."""
    connections_per_host: int = Field(default=500, ge=1)
    """Of these from one address (IPv6: one /64 network). Not for connections from the machine itself."""
    join_seconds: float = Field(default=30.0, gt=0, le=3600)
    """A connection that neither waits nor plays for this long is closed, and so is one that asks nothing at all."""
    waiting: int = Field(default=1000, ge=16)
    """Clients in the queue at a time. At least as many as any game can seat, or nobody could be paired."""
    message_bytes: int = Field(default=MEBIBYTE, ge=1024)
    """Size of one control message."""
    mailbox: int = Field(default=256, ge=8)
    """Control messages to one client that it has not read; above that it is dropped."""
    relay_packets_per_second: float = Field(default=4000.0, gt=0)
    """Per connection; what comes faster is dropped, as a network would."""
    relay_buffer_bytes: int = Field(default=32_768, ge=2048, le=60_000)
    """Unsent bytes to one slow receiver; above that its packets are dropped. Below the transport's own high-water
    mark (64 KiB), so that a sender is never made to wait for another player."""
    upload_bytes: int = Field(default=257 * MEBIBYTE, ge=1024)
    """Size of an upload as it comes over the wire. A little more than ``export_bytes``: encoding makes more of bytes
    that cannot be compressed."""
    export_bytes: int = Field(default=256 * MEBIBYTE, ge=1024, le=1000 * MEBIBYTE)
    """Size of an upload after decompression."""
    episode_frames: int = Field(default=200_000, ge=1, le=MAX_FRAMES)
    """Frames of one episode: bounds the work of the replay audit. Longer ones are truncated here."""
    upload_seconds: float = Field(default=120.0, gt=0)
    """Time for the body of one upload."""
    uploads_at_once: int = Field(default=4, ge=1)
    """Uploads that are checked at a time: bounds memory."""
    free_bytes: int = Field(default=64 * MEBIBYTE, ge=0)
    """Free space on the data disk below which nothing is started or accepted."""


class ServerSettings(_Section):
    """Everything ``rollgym serve`` needs."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    """0: any free one."""
    data: Path = Path("data")
    """The dataset folder; made if it is not there."""
    experiment: Experiment = Field(default_factory=Experiment)
    limits: Limits = Field(default_factory=Limits)
    ping_interval: int = Field(default=1, ge=1, le=60)
    """Whole seconds (Engine.IO announces no fractions) between pings on an idle control connection."""
    ping_timeout: float = Field(default=0.9, gt=0, le=60)
    """Seconds without an answer after which the peer is dead. 1 + 0.9: noticed within two seconds."""
    public_url: HttpAddress | None = None
    """The URL by which clients reach the server, if they are to be told addresses below it: behind a proxy that leads
    to several servers, say. None: addresses are relative to the URL that a client has come by."""
    origins: tuple[Origin, ...] = ()
    """Origins of web pages that may use the server, beside its own: ``https://lab.example``, or ``*`` for all."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that re-simulate episodes, and as many others that check uploads."""
    worker_memory: float | None = Field(default=None, gt=0, le=1 << 20)
    """GiB of memory that each of these processes may take (on Linux). None: as much as the machine or its container
    has."""
    judge_seconds: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds that an episode's re-simulation may take, beyond twice the time that its frames took to be played."""
    grace: float = Field(default=1.0, ge=0, le=60)
    """Seconds that running requests and verdicts get when the server is told to stop."""
    exit_when_done: bool = False
    """End the process when ``experiment.matches`` matches are over."""
