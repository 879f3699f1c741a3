"""`evomerge`: the verbs in the order in which people meet them, and what errors look like."""

import io
import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import typer

from evomerge.cli import (
    cp,
    demo,
    doctor,
    evolve,
    export,
    extract_lora,
    ls,
    merge,
    resume,
    runs,
    show,
    tournament,
    validate,
)
from evomerge.cli import eval as evaluate
from evomerge.errors import EvoMergeException
from evomerge.logging_config import configure_logging

INTERRUPTED = 130
USAGE_ERROR: Any = typer.BadParameter.__mro__[2]
"""click's ClickException, of the click that typer itself uses (it brings its own)."""

app = typer.Typer(
    name="evomerge",
    help="Find, by evolution, the merge of language models that is best at what you care about.",
    epilog="Example: evomerge demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS = (
    *(demo, ls, cp, validate, merge, extract_lora),
    *(evaluate, evolve, tournament, resume, runs, show, export, doctor),
)
for verb in VERBS:
    app.command(name=verb.NAME, epilog=f"Example: {verb.EXAMPLE}")(verb.command)


def print_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        from evomerge import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what is going on."),
    _version: bool = typer.Option(
        False, "--version", callback=print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Find, by evolution, the merge of language models that is best at what you care about."""
    configure_logging(verbose=verbose)


def main(program: typer.Typer = app) -> NoReturn:
    """Run a command line; exit with 0, 1 (it failed), 2 (wrong input) or 130 (interrupted)."""
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show × shows ?
    try:
        if (code := program(standalone_mode=False) or 0) == INTERRUPTED:
            raise KeyboardInterrupt  # of which typer has made an exit code
        sys.exit(code)
    except EvoMergeException as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except USAGE_ERROR as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        typer.echo(f"error: {error.strerror or error}: {error.filename or 'output'}", err=True)
        sys.exit(1)
    finally:  # nothing is left to stop: the interpreter ends in peace
        for late in (signal.SIGINT, signal.SIGTERM):
            signal.signal(late, signal.SIG_IGN)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
