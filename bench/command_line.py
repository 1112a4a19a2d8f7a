"""How the commands of this folder end: with an exit code, and a sentence if something is refused."""

from __future__ import annotations

import signal
from functools import partial

import click

from mdss.errors import BadInput, MdssError
from mdss.interrupts import signals_as_interrupt

INTERRUPTED = 130  # as a shell reports an end by SIGINT


def main_of(command: click.Command, module: str) -> partial[int]:
    """Return the function that runs `python -m MODULE` with some words, or those of the command line, and returns its exit code."""
    return partial(_run, command, module)


def _run(command: click.Command, module: str, arguments: list[str] | None = None) -> int:
    """Return the exit code: 0 done, 1 failed, 2 usage or settings, 130 stopped by Ctrl-C, SIGTERM or SIGHUP."""
    with signals_as_interrupt((signal.SIGTERM, signal.SIGHUP)):  # as in `mdss.cli`: else folders for temporary files would stay
        code, sentence = _outcome(command, module, arguments)
    if sentence:  # as in `mdss.cli`: once the error is gone, which keeps loops open, so that their progress lines come before
        click.echo(f"{module.rpartition('.')[2]}: {sentence}", err=True)
    return code


def _outcome(command: click.Command, module: str, arguments: list[str] | None) -> tuple[int, str]:
    """Run a command; return its exit code, and the sentence on what went wrong."""
    try:
        command.main(args=arguments, prog_name=f"python -m {module}", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code, ""
    except click.Abort:
        return INTERRUPTED, "interrupted"
    except MdssError as error:
        return 2 if isinstance(error, BadInput) else 1, str(error)
    except OSError as error:  # in the words of `mdss`
        place = error.filename2 or error.filename
        return 1, f"{place}: {error.strerror}" if place else str(error)
    return 0, ""
