"""One headless bot client, from joining a server to the server's verdict on what it recorded.

connect -> join -> (paired) -> play over the relay -> upload every episode -> finished -> verdicts -> done.
A match that the server annuls before play began leads back to waiting. Whatever happens on the way, exports are on
disk (``rollgym.client_sim.exports.spool``) before anything else is done with them.

The game, the bot and the peer are in a process of their own (:mod:`rollgym.client_sim.player.player`). This one keeps
the connections served: control, relay, uploads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rollgym.client_sim.client.results import ClientEvent, PlayResult
from rollgym.client_sim.client.stay import Stay
from rollgym.client_sim.client.stopping import Stopping
from rollgym.client_sim.exports.export_files import make_folder
from rollgym.client_sim.exports.spool import Spool
from rollgym.client_sim.network_model import Link
from rollgym.client_sim.player.messages import Prepare
from rollgym.client_sim.player.process import PlayerProcess
from rollgym.client_sim.rollback.prediction.catalogue import DEFAULT

PLAYER_ENDS_WITHIN = 2.0
"""Seconds a player process has to let go of its game and end. There is nothing left to lose by then."""


@dataclass(frozen=True)
class BotPlayer:
    """Who plays what. Names, because the game and the bot are made in a process of their own."""

    game: str
    """As :func:`rollgym.games.registry.make` takes it."""
    policy: str
    """As :func:`rollgym.games.policies.catalogue.make_policy` takes it."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Of the game."""
    policy_parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    """Of the policy."""
    prediction: str = DEFAULT
    """The rule for inputs that have not arrived, as :func:`rollgym.client_sim.peer.prediction_rules.find_rule` takes
    it."""


async def play(
    url: str | Callable[[], Coroutine[Any, Any, str]],
    bot: BotPlayer,
    *,
    spool: Path,
    participant: str | None = None,
    network: Link | None = None,
    network_seed: int = 0,
    keep: Path | None = None,
    keep_said: Mapping[str, str] | None = None,
    on_event: Callable[[ClientEvent], None] = lambda event: None,
    progress_every: float | None = None,
    wait: float | None = None,
    stop: asyncio.Event | None = None,
) -> PlayResult:
    """Play one match on the server at ``url``: ``http://host:port``, with the prefix of a proxy if there is one.

    ``url`` may also be something that will tell it: the game is made meanwhile. ``network`` impairs what this client
    sends, with draws seeded by ``network_seed``. ``spool`` is the folder in which exports wait for their upload (what
    earlier runs left there is uploaded too); ``keep``, if given, gets a Parquet file of every export, with
    ``keep_said`` in its metadata. Every ``progress_every`` seconds, if given, ``on_event`` hears how far the match is.
    ``wait``: seconds for a partner to come; None: for ever. When ``stop`` is set, the match is left and this returns
    within two seconds, unless the game does not let go (:mod:`rollgym.client_sim.client.match`).

    A match that goes wrong is a result: :attr:`PlayResult.failure` and :attr:`PlayResult.lost` say why. What keeps
    this client from a match is raised: a :class:`~rollgym.client_sim.client.control_errors.ControlError`
    (``ServerUnreachable``, ``JoinRefused``, ``ConnectionLost``, ``NobodyCame``),
    :class:`~rollgym.client_sim.player.process.PlayerFailed` (the game or the bot cannot be made),
    :class:`~rollgym.client_sim.exports.spool.SpoolError` (the spool folder is not usable), ``OSError`` (``keep`` is
    not), and whatever ``on_event`` raises.
    """
    place, copies = _folders(spool, keep)
    link = {} if network is None else {"forward": network.forward.describe(), "backward": network.backward.describe()}
    plan = Prepare(
        game=bot.game,
        parameters=dict(bot.parameters),
        policy=bot.policy,
        policy_parameters=dict(bot.policy_parameters),
        policy_seed=bot.seed,
        prediction=bot.prediction,
        network={**link, "seed": network_seed} if link else {},
        spool=str(place.folder),
        keep=None if copies is None else str(copies),
        keep_said=dict(keep_said or {}),
    )
    stopping = Stopping(stop or asyncio.Event())
    player = await PlayerProcess.start(plan)
    try:
        at = url if isinstance(url, str) else await stopping.unless(url())
        if at is None:
            return PlayResult(stopped=True)
        client = Stay(at, player, place, on_event, stopping)
        client.network, client.network_seed = network, network_seed
        if keep is not None:
            client.keep_copies(keep)
        client.progress_every, client.wait = progress_every, wait
        return await client.run(participant)
    finally:
        await player.close(stopping.at_most(PLAYER_ENDS_WITHIN))
        stopping.raise_failure()


def _folders(spool: Path, keep: Path | None) -> tuple[Spool, Path | None]:
    """Where exports go, absolute: the game may change the current folder. Raises as :func:`play`."""
    place = Spool(spool.absolute())
    if keep is not None:
        keep = keep.absolute()
        make_folder(keep)
    return place, keep
