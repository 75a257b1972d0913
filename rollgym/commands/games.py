"""``rollgym games``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rollgym.commands.exits import refuse
from rollgym.commands.output import say


def games(
    game: Annotated[
        str | None, typer.Argument(help="Show this game in full; any name `check` takes.", show_default=False)
    ] = None,
    cost: Annotated[bool, typer.Option("--cost", help="Play a little of each and say what calls cost.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List what can be played, or one game with its parameters, spaces and costs.

    Example: rollgym games pong
    """
    from rollgym.checking.raised import described
    from rollgym.commands.json_output import print_json
    from rollgym.games.errors import GameError
    from rollgym.games.policies.catalogue import available_policies
    from rollgym.games.registry import available

    if game is None:
        listed = [
            {**entry._asdict(), **(_costs(entry.id) if cost and entry.installed else {})} for entry in available()
        ]
        if as_json:
            print_json(listed)
            return
        for row in listed:
            missing = "" if row["installed"] else f"  [not installed: pip install 'rollgym[{row['extra']}]']"
            say(f"{row['id']:{_WIDTH}} {row['summary']}{missing}")
            if "cost" in row:
                say(f"{'':{_WIDTH}} {', '.join(row['agents'])}; {_cost_line(row['cost'])}")
        say("\nor any environment of yours: a gymnasium id, or package.module:callable (rollgym check)")
        say("\nbots that can play them:")
        for name, summary in available_policies().items():
            say(f"{name:{_WIDTH}} {summary}")
        return
    try:
        found = {**_describe(game), **_costs(game)}
    except GameError as error:
        refuse(str(error))
    except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
        refuse(f"{game} cannot be shown: {described(error)}")
    if as_json:
        print_json(found)
        return
    brought = f", brought by rollgym[{found['extra']}]" if found["extra"] else ""
    say(f"{found['id']} {found['version']}, {found['fps']} frames per second{brought}")
    say("parameters:")
    for parameter in found["parameters"]:
        say(
            f"  {parameter['name']:16} {parameter['summary']}; {parameter['expected']} (default {parameter['default']})"
        )
    for agent in found["spaces"]:
        say(f"agent {agent['name']}:\n  actions       {agent['actions']}\n  observations  {agent['observations']}")
    say(f"cost: {_cost_line(found['cost'])}")


_WIDTH = 24


def _describe(game_id: str) -> dict[str, Any]:
    from rollgym.games.registry import available, declared, is_built_in, make

    game = make(game_id)
    spec = game.spec
    game.close()
    parameters = declared(game_id) if is_built_in(game_id) else ()
    return {
        "id": spec.id,
        "version": spec.version,
        "fps": spec.fps,
        "extra": next((entry.extra for entry in available() if entry.id == game_id), None),
        "parameters": [
            {"name": p.name, "default": p.default, "summary": p.summary, "expected": p.expected} for p in parameters
        ],
        "spaces": [
            {"name": name, "actions": str(actions), "observations": str(observations)}
            for name, actions, observations in zip(
                spec.agents, spec.action_spaces, spec.observation_spaces, strict=True
            )
        ],
    }


def _costs(game_id: str) -> dict[str, Any]:
    """Agents, and what calls cost while random bots play."""
    import msgspec

    from rollgym.checking.cost import measure
    from rollgym.checking.trace import bots, record
    from rollgym.games.registry import make

    game = make(game_id)
    try:
        trace = record(game, bots(game, "random", 1), 1, 60)
        return {
            "agents": list(game.spec.agents),
            "cost": msgspec.to_builtins(measure(game, trace, float(game.spec.fps))),
        }
    finally:
        game.close()


def _cost_line(cost: dict[str, Any]) -> str:
    return (
        f"step {cost['step']:g} us, save {cost['save']:g}, load {cost['load']:g}, digest {cost['digest']:g}, "
        f"observe {cost['observe']:g}, {cost['state_bytes']} bytes of state; largest window {cost['window']}"
    )
