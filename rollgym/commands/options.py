"""Options that several verbs share: the network, the game's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rollgym.client_sim.network_model import Link

# Times may carry a unit, 40ms or 0.04s; a bare number is milliseconds. Probabilities are 0.02 or 2%.
Latency = Annotated[str | None, typer.Option(help="One way, of every packet: 40ms.", show_default=False)]
Jitter = Annotated[str | None, typer.Option(help="Up to this much more or less: 10ms.", show_default=False)]
Loss = Annotated[str | None, typer.Option(help="Share of packets lost: 2%.", show_default=False)]
Duplicate = Annotated[str | None, typer.Option(help="Share of packets that arrive twice: 1%.", show_default=False)]
Reorder = Annotated[str | None, typer.Option(help="Share of packets held back: 5%.", show_default=False)]
Burst = Annotated[
    str | None,
    typer.Option(
        metavar="P:N", help="With probability P a packet and the N-1 after it are lost: 2%:3.", show_default=False
    ),
]
NetworkName = Annotated[
    str | None,
    typer.Option(
        "--network", metavar="NAME", help="A named condition: lan, wifi_average, terrible ...", show_default=False
    ),
]
Prediction = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        help="What stands for inputs that have not arrived: repeat_last, default_input, or module:callable.",
        show_default=False,
    ),
]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="KEY=VALUE", help="A parameter of the game; may be repeated.", show_default=False),
]

Npcs = Annotated[
    list[str] | None,
    typer.Option(
        "--npc",
        metavar="AGENT=POLICY",
        help="An agent that a policy drives within the game: cook_2=cook; may be repeated.",
        show_default=False,
    ),
]


def link_from(
    network: str | None,
    latency: str | None,
    jitter: str | None,
    loss: str | None,
    duplicate: str | None,
    reorder: str | None,
    burst: str | None,
) -> Link:
    """The link that the options describe. Raises ``typer.BadParameter`` (exit 2) naming the option."""
    from rollgym.client_sim.network_model import ConditionsError, Link, NetworkConditions, link
    from rollgym.config.units import duration, share

    start, length = (None, None) if burst is None else _burst(burst)
    given = {
        "latency": latency,
        "jitter": jitter,
        "loss": loss,
        "duplicate": duplicate,
        "reorder": reorder,
        "burst_start": start,
    }
    values: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None:
            try:
                values[name] = (duration if name in ("latency", "jitter") else share)(value)
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint=_option(name)) from error
    if network is not None and values:
        raise typer.BadParameter(f"a name and {_option(next(iter(values)))} exclude each other", param_hint="--network")
    if length is not None:
        values["burst_length"] = length
    try:
        return link(network) if network is not None else Link.both(NetworkConditions(**values).check_that_it_carries())
    except ConditionsError as error:
        raise typer.BadParameter(
            f"{error.value!r}: expected {error.expected}", param_hint=_option(error.field)
        ) from error


def _option(field: str) -> str:
    return "--" + field.split("_")[0]


def _burst(text: str) -> tuple[str, int]:
    start, colon, length = text.partition(":")
    if not colon or not length.strip().isdecimal():
        raise typer.BadParameter(f"{text!r}: expected P:N, such as 2%:3", param_hint="--burst")
    return start, int(length)


def parameters_from(params: list[str] | None, npcs: list[str] | None = None) -> dict[str, Any]:
    """Key and value of each ``--param``, and what ``--npc`` adds; values are read as YAML does: 3 is a number."""
    values = _pairs(params, "--param", "KEY=VALUE")
    if npcs:
        if "npcs" in values:
            raise typer.BadParameter("--npc and --param npcs=... exclude each other", param_hint="--npc")
        values["npcs"] = _pairs(npcs, "--npc", "AGENT=POLICY")
    return values


def _pairs(given: list[str] | None, option: str, expected: str) -> dict[str, Any]:
    import yaml

    values: dict[str, Any] = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{text!r}: expected {expected}", param_hint=option)
        if key in values:
            raise typer.BadParameter(f"{key}: given twice", param_hint=option)
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise typer.BadParameter(f"{text!r}: not a value: {error}", param_hint=option) from error
    return values
