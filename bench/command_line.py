"""How the commands of this folder end: with an exit code, and a sentence if something is refused."""

from __future__ import annotations

from functools import partial

import click

from mdss.errors import BadInput, MdssError

INTERRUPTED = 130  # as a shell reports an end by SIGINT


def main_of(command: click.Command, module: str) -> partial[int]:
    """Return the function that runs `python -m MODULE` with some words, or those of the command line, and returns its exit code."""
    return partial(_run, command, module)


def _run(command: click.Command, module: str, arguments: list[str] | None = None) -> int:
    """Return the exit code: 0 done, 1 failed, 2 usage or settings."""
    try:
        command.main(args=arguments, prog_name=f"python -m {module}", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _say(module, "interrupted", INTERRUPTED)
    except MdssError as error:
        return _say(module, str(error), 2 if isinstance(error, BadInput) else 1)
    except OSError as error:  # in the words of `mdss`
        place = error.filename2 or error.filename
        return _say(module, f"{place}: {error.strerror}" if place else str(error), 1)
    return 0


def _say(module: str, sentence: str, code: int) -> int:
    click.echo(f"{module.rpartition('.')[2]}: {sentence}", err=True)
    return code
