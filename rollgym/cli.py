"""The ``rollgym`` command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from rollgym.commands.catalogue import rebuild
from rollgym.commands.check import check
from rollgym.commands.compare import compare
from rollgym.commands.export import export
from rollgym.commands.games import games
from rollgym.commands.output import OutputFailed, close_stdout, end_with, guarded, repair_standard_streams
from rollgym.commands.play import play
from rollgym.commands.replay import replay
from rollgym.commands.run import run
from rollgym.commands.serve import serve
from rollgym.commands.simulate import simulate
from rollgym.commands.verify import verify

app = typer.Typer(
    name="rollgym",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_VERBS: tuple[Callable[..., None], ...] = (run, serve, play, simulate, check, compare, verify, replay, export, games)
for verb in _VERBS:
    # What these do is worth more than what they say of it.
    app.command()(guarded(verb, keep_going=verb in (run, serve, play)))
_CATALOGUE = typer.Typer(name="catalogue", no_args_is_help=True, help="The catalogue of a data folder.")
_CATALOGUE.command()(guarded(rebuild))
app.add_typer(_CATALOGUE)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        from rollgym.protocol.build_form import build_form

        try:
            typer.echo(f"rollgym {version('rollgym')} ({build_form()})")
        except PackageNotFoundError:
            typer.echo("rollgym (not installed: run from a checkout)")
        raise typer.Exit


@app.callback()
def rollgym(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Two peers play one gymnasium environment under rollback netcode, and only facts are recorded.

    Start with: rollgym run
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line. Ends the process with 0, 1 (what was checked does not hold) or 2 (bad usage or input)."""
    repair_standard_streams()
    try:
        app()
    except OutputFailed as failure:
        end_with(failure)
    except OSError as error:  # help and version go to stdout as it is
        end_with(OutputFailed(error))
    finally:
        close_stdout()
