"""``rollgym check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollgym.commands.exits import DIFFERENT, UNUSABLE, refuse
from rollgym.commands.options import Params, parameters_from
from rollgym.commands.output import say

if TYPE_CHECKING:
    from rollgym.checking.report import Check, Report


def check(
    game: Annotated[
        str,
        typer.Argument(help="Of `rollgym games`, a gymnasium id, or package.module:callable.", show_default=False),
    ],
    param: Params = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="Play with this bot too; may be repeated.", show_default=False)
    ] = None,
    frames: Annotated[int, typer.Option(min=1, max=100_000, help="Frames to play with each bot.")] = 300,
    window: Annotated[int, typer.Option(min=1, max=3600, help="Frames of the longest rollback.")] = 8,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=1000, help="Frames per second wanted.  [default: the game's own]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first episode and the bots.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Is this environment safe to roll back? If not: the first field that differs, and why, as experiments showed it.

    Plays random actions, rolls back at every frame by 1, 2 and --window frames, and compares states, observations,
    rewards, ends and infos. The clock, random numbers of the process and the system, PYTHONHASHSEED, another instance
    and the process must not matter. Says what playing needs, what each call costs and the largest prediction window
    that fits into a frame. NAME is imported, in a process of its own: check what you trust.
    Exit code: 0 safe, 1 not safe, 2 could not be checked, or bad usage.

    Example: rollgym check my_package.my_env:make --param size=8
    """
    import msgspec

    from rollgym.checking.report import UNCHECKED, Finding, Report
    from rollgym.checking.supervised import supervised
    from rollgym.commands.json_output import print_json
    from rollgym.games.errors import GameError

    parameters = parameters_from(param)
    told: dict[str, Any] = {} if as_json else {"said": _say, "progress": _progress}
    try:
        report = supervised(
            game, parameters, policies=policy or [], frames=frames, window=window, seed=seed, fps=fps, **told
        )
    except GameError as error:
        if not as_json:
            refuse(str(error))
        report = Report(game, UNCHECKED, [], [Finding("refused", "unchecked", str(error))])
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        _print(report)
    if report.verdict == UNCHECKED:
        raise typer.Exit(UNUSABLE)
    if not report.ok:
        raise typer.Exit(DIFFERENT)


def _say(found: Check) -> None:
    if found.ok:
        say(f"ok      {found.name}")
        return
    if not found.cause:  # it raised: there is nothing to guess
        say(f"FAILED  {found.name}: {found.detail}")
        return
    say(f"FAILED  {found.name}")
    say(f"        {found.detail}")
    say(f"        {'needed' if found.name == 'snapshot' else 'why'}: {found.cause}")


def _progress(text: str) -> None:
    typer.echo(f"...     {text}", err=True)


def _print(report: Report) -> None:
    cost = report.cost
    if cost is not None:
        say(
            f"\n{report.game} {report.version}, {report.players} players, {len(report.agents)} agents, state saved by "
            f"{report.snapshot}\n{report.frames} frames in {report.episodes} episodes, {report.rollbacks} rollbacks"
        )
        say(
            f"step {cost.step:g} us, save {cost.save:g}, load {cost.load:g}, digest {cost.digest:g} "
            f"({cost.state_bytes} bytes), observe {cost.observe:g}; a rollback of 8 frames {cost.rollback_8:g} us"
        )
        frame = f"a frame at {report.fps:g} a second"
        if cost.window < 0:
            say(f"too slow: {frame} is over before one step, its save and its observation are done")
        else:
            say(f"largest prediction window that fits into {frame}: {cost.window}")
    from rollgym.checking.report import UNSAFE

    needs = False
    for finding in report.findings:
        if finding.severity in ("note", "needs"):
            say(f"{finding.severity}: {finding.text}{'; ' * bool(finding.next)}{finding.next}")
            needs = needs or finding.severity == "needs"
        elif finding.code == "refused_by_run":
            say(f"FAILED  {finding.text}")
        elif finding.severity == "unchecked":
            typer.echo(f"rollgym: {report.game} could not be checked: {finding.text}", err=True)
            if finding.next:
                typer.echo(f"rollgym: what to do: {finding.next}", err=True)
    if report.ok:
        say(f"safe to roll back{', with what is named under needs' * needs}")
    elif report.verdict == UNSAFE:
        say("NOT safe to roll back" if not all(found.ok for found in report.checks) else "safe, and NOT playable")
    else:
        say("could not be checked")
