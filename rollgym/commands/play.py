"""``rollgym play``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollgym.commands.exits import DIFFERENT, UNUSABLE, refuse
from rollgym.commands.options import (
    Burst,
    Duplicate,
    Jitter,
    Latency,
    Loss,
    NetworkName,
    Params,
    Reorder,
    link_from,
    parameters_from,
)
from rollgym.commands.upload_only import upload_only

if TYPE_CHECKING:
    from rollgym.bots import Client, Finished
    from rollgym.client_sim.client import ClientEvent
    from rollgym.client_sim.network import Link


def play(
    url: Annotated[str, typer.Option(help="The server: http://127.0.0.1:8000.", show_default=False)],
    bots: Annotated[int, typer.Option(min=1, max=1000, help="Clients to run in this process.")] = 1,
    policy: Annotated[
        str | None, typer.Option(help="Who plays; `rollgym games` lists them.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first bot and its network; the next has one more.")] = 1,
    game: Annotated[
        str | None, typer.Option(help="What to play.  [default: what the server plays]", show_default=False)
    ] = None,
    param: Params = None,
    latency: Latency = None,
    jitter: Jitter = None,
    loss: Loss = None,
    duplicate: Duplicate = None,
    reorder: Reorder = None,
    burst: Burst = None,
    network: NetworkName = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep a Parquet file of every export there.", show_default=False)
    ] = None,
    spool: Annotated[Path, typer.Option(help="Where exports wait until the server has them.")] = Path("spool"),
    only_upload: Annotated[
        bool, typer.Option("--upload-only", help="Play nothing: bring what waits in the spool to the server.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    config: Annotated[Path | None, typer.Option("--config", hidden=True)] = None,
    seat: Annotated[int, typer.Option("--seat", hidden=True)] = 0,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Play with headless bots against a running server; each client plays one match.

    What a bot sends can be impaired: --latency 40ms is one way, so two such bots have a round trip of 80 ms.
    Exit code: 0 every episode was verified, 1 some were not, 2 the server is not there or refuses.

    Example: rollgym play --url http://127.0.0.1:8000 --bots 2 --latency 40ms --loss 2%
    """
    from rollgym.bots import ServerUnknownError, describe, game_of_server, run_clients, summary_of
    from rollgym.client_sim.control import ControlError
    from rollgym.client_sim.spool import SpoolError
    from rollgym.client_sim.transport.interface import TransportError
    from rollgym.commands.json_output import print_json
    from rollgym.config import ConfigError
    from rollgym.event_loop import run_loop
    from rollgym.games.errors import GameError
    from rollgym.games.registry import is_built_in
    from rollgym.server.serve import configure_logs
    from rollgym.uploads import remove_empty
    from rollgym.with_parent import emit, end_with_parent, line_from_parent

    if child:
        url = line_from_parent()
        end_with_parent()
    configure_logs(json=True if child else None, level="info" if child else "warning")
    if only_upload:
        upload_only(url, spool, as_json)
        return

    over: set[int] = set()

    def heard(index: int, event: ClientEvent) -> None:
        name, fields = describe(event)
        if name == "match_over":
            over.add(index)
        if child:
            emit(name, **fields)
        elif not as_json and not (name == "control_lost" and index in over):  # the server may end with its last match
            _show(index, name, fields)

    fresh = not child and not spool.exists()
    try:
        if config is not None:
            game_id, parameters, clients, link, said = _from_config(config, seat)
        else:
            said = {}
            link = link_from(network, latency, jitter, loss, duplicate, reorder, burst)
            parameters = parameters_from(param)
            game_id = game or ""
            if game is None:
                game_id, found = game_of_server(url)
                if not is_built_in(game_id):
                    expected = "a built-in game: code that it names is imported only if --game names it as well"
                    raise GameError("the server's game", game_id, expected)
                parameters = {**found, **parameters}
            clients = _clients(game_id, parameters, policy, seed, bots)
        results = run_loop(
            run_clients(
                url,
                clients,
                game_id=game_id,
                parameters=parameters,
                network=link,
                spool=spool,
                keep=keep,
                said=said,
                on_event=heard,
            )
        )
    except (ConfigError, ControlError, GameError, OSError, ServerUnknownError, SpoolError, TransportError) as error:
        if child:
            emit("failed", message=str(error))
            raise typer.Exit(UNUSABLE) from error
        refuse(str(error))
    finally:
        if fresh:
            remove_empty(spool)
    if child:
        emit("finished", **summary_of(results[0]))
    elif as_json:
        print_json([summary_of(result) for result in results])
    if not all(_good(result) for result in results):
        raise typer.Exit(DIFFERENT)


def _clients(game_id: str, parameters: dict[str, Any], policy: str | None, seed: int, bots: int) -> list[Client]:
    """Raises :class:`~rollgym.games.errors.GameError` for a policy that can not play the game: before anything is
    started."""
    from rollgym.bots import Client
    from rollgym.config import Bot, default_policy
    from rollgym.games.policies import make_policy
    from rollgym.games.registry import make

    name = policy or default_policy(game_id)
    game = make(game_id, parameters)
    make_policy(name, game.spec, 0, seed)
    game.close()
    return [Client(None, Bot(policy=name, seed=seed + n), seed + n) for n in range(bots)]


def _from_config(path: Path, seat: int) -> tuple[str, dict[str, Any], list[Client], Link, dict[str, str]]:
    """One of the bots of an experiment file, and what the file says of the experiment."""
    from rollgym.bots import Client
    from rollgym.config import load_config

    file = load_config(path)
    made = file.experiment.game.make()
    bot = file.all_bots(made.spec)[seat]
    made.close()
    client = Client(f"bot-{seat}", bot, (file.experiment.seed or 0) * 1000 + seat)
    said = {"experiment": file.experiment.name, "condition": file.experiment.condition}
    return file.experiment.game.id, file.experiment.game.all_parameters(), [client], file.network.link(), said


def _good(finished: Finished) -> bool:
    result = finished.result
    verdicts = [verdict.verdict for verdict in result.verdicts.values()]
    return bool(result.episodes) and len(verdicts) == len(result.episodes) and set(verdicts) == {"verified"}


def _show(index: int, name: str, fields: dict[str, Any]) -> None:
    lines = {
        "joined": "joined as {participant}",
        "paired": "playing match {match} as player {player}",
        "episode_ended": "episode {episode}: {status} after {frames} frames",
        "desync_found": "states differ at frame {frame} of episode {episode}",
        "verdict": "episode {episode}: {verdict} {detail}",
        "refused": "the server refuses episode {episode}: {reason}",
        "control_lost": "lost the server: {reason}",
        "match_ended": "match ended: {reason}",
    }
    if name in lines:
        typer.echo(f"bot {index}: {lines[name].format(**fields).rstrip()}")
