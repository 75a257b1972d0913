"""``rollgym play``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rollgym.commands.options import (
    Burst,
    Duplicate,
    Jitter,
    Latency,
    Loss,
    NetworkName,
    Params,
    Prediction,
    Reorder,
    link_from,
    parameters_from,
)
from rollgym.commands.upload_only import upload_only


def play(
    url: Annotated[str, typer.Option(help="The server: http://127.0.0.1:8000.", show_default=False)],
    bots: Annotated[int, typer.Option(min=1, max=1000, help="Clients to run at once.")] = 1,
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
    prediction: Prediction = None,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="For a partner, or a server that is gone; 0: for ever.")
    ] = 300.0,
    reconnect: Annotated[
        bool, typer.Option("--reconnect", help="Come back when the server was lost, for as long as --wait says.")
    ] = False,
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
    Exit code: 0 every episode was verified, 1 some were not, 2 the server is not there or refuses, or nobody came.

    Example: rollgym play --url http://127.0.0.1:8000 --bots 2 --latency 40ms --loss 2%
    """
    from rollgym.client_sim.rollback.prediction.catalogue import DEFAULT
    from rollgym.commands.play_bots import Fleet, play_as_child, play_bots
    from rollgym.server.http.serve import configure_logs

    configure_logs(json=True if child else None, level="info" if child else "warning")
    if child:
        assert config is not None
        play_as_child(config, seat, spool=spool, keep=keep)
        return
    if only_upload:
        upload_only(url, spool, as_json)
        return
    play_bots(
        Fleet(
            url,
            bots,
            policy,
            seed,
            game,
            parameters_from(param),
            link_from(network, latency, jitter, loss, duplicate, reorder, burst),
            wait or None,
            reconnect,
            prediction or DEFAULT,
            keep,
            spool,
        ),
        as_json,
    )
