"""``rollgym games``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rollgym.commands.exits import refuse


def games(
    game: Annotated[str | None, typer.Argument(help="Show this game in full.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List what can be played, or one game with its parameters and spaces.

    Example: rollgym games pong
    """
    from games.errors import GameError
    from games.policies import available_policies
    from games.registry import available
    from rollgym.commands.json_output import print_json

    if game is None:
        listed = [entry._asdict() for entry in available()]
        if as_json:
            print_json(listed)
            return
        for entry in available():
            missing = "" if entry.installed else f"  [not installed: pip install 'rollgym[{entry.extra}]']"
            typer.echo(f"{entry.id:12} {entry.summary}{missing}")
        typer.echo("\nbots that can play them:")
        for policy in available_policies():
            typer.echo(f"{policy.name:12} {policy.summary}")
        return
    try:
        found = _describe(game)
    except GameError as error:
        refuse(str(error))
    if as_json:
        print_json(found)
        return
    typer.echo(f"{found['id']} {found['version']}, {found['fps']} frames per second")
    typer.echo("parameters:")
    for parameter in found["parameters"]:
        typer.echo(
            f"  {parameter['name']:16} {parameter['summary']}; {parameter['expected']} (default {parameter['default']})"
        )
    for agent in found["agents"]:
        typer.echo(
            f"agent {agent['name']}:\n  actions       {agent['actions']}\n  observations  {agent['observations']}"
        )


def _describe(game_id: str) -> dict[str, Any]:
    from games.registry import declared, make

    game = make(game_id)
    spec = game.spec
    game.close()
    return {
        "id": spec.id,
        "version": spec.version,
        "fps": spec.fps,
        "parameters": [
            {"name": p.name, "default": p.default, "summary": p.summary, "expected": p.expected}
            for p in declared(game_id)
        ],
        "agents": [
            {"name": name, "actions": str(actions), "observations": str(observations)}
            for name, actions, observations in zip(
                spec.agents, spec.action_spaces, spec.observation_spaces, strict=True
            )
        ],
    }
