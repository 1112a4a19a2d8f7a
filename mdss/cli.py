"""The command `mdss`: lists its verbs and imports only the one that runs."""

from __future__ import annotations

import sys

try:
    import importlib
    import signal
    from contextlib import nullcontext
    from pathlib import Path

    import click

    from mdss.errors import BadInput, MdssError
    from mdss.interrupts import signals_as_interrupt
    from mdss.user_name import other_owner
except KeyboardInterrupt:  # most of the time before a verb handles Ctrl-C itself is spent in these imports
    sys.stderr.write("mdss: interrupted\n")
    raise SystemExit(130) from None

FAILED, MISUSED = 1, 2
INTERRUPTED, UNREAD = 130, 141  # exit codes that a shell reports after SIGINT, and after SIGPIPE
STATION = "run"  # `mdss run` handles SIGTERM itself; before it does, being killed by SIGTERM is a clean end for systemd
EXAMPLE = "Example: mdss demo"

VERBS = {
    "demo": ("demo.run:command", "See the whole station work on a synthetic line."),
    STATION: ("daemon.run:command", "Run a station with its settings file."),
    "check": ("daemon.verbs:check", "Check a settings file."),
    "keygen": ("daemon.keygen:command", "Make keys for the station and its clients."),
    "status": ("daemon.verbs:status", "Show the state of a running station."),
    "doctor": ("daemon.doctor:command", "Report a station's weak points, and what to do about each."),
    "recipe": ("daemon.recipe_verbs:recipe", "Show which recipes a station can judge, and load the next one in advance."),
    "replay": ("daemon.replay:command", "Send recorded scans to the station as a camera would."),
    "watch": ("daemon.watch:watch", "Show the verdicts in the terminal as they come."),
    "drift": ("daemon.drift_verb:command", "Show whether live parts are still like those of calibration."),
    "alerts": ("daemon.alert_verbs:alerts", "List and show the alerts of parts that are not OK, and record what people decide."),
    "collection": ("daemon.collection_verbs:collection", "List, label, prune and export the scans kept for retraining."),
    "teacher": ("trainer.teacher_verbs:teacher", "Make or import the teacher network."),
    "train": ("trainer.train:command", "Train a model on good parts."),
    "retrain": ("trainer.retrain:command", "Train a recipe again on what the station collected."),
    "calibrate": ("trainer.calibrate_verb:command", "Set a model's threshold from good parts."),
    "evaluate": ("trainer.evaluate:command", "Measure a model on parts whose kind is known."),
    "bench": ("measure.bench:command", "Measure how fast this machine judges parts, beside the limits it sets."),
    "synthetic": ("trainer.synthetic:command", "Make a line of synthetic parts."),
    "model": ("trainer.model_verbs:model", "List, verify, compare and promote models."),
}


class Verbs(click.Group):
    """A group that imports each command only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which a newcomer meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb; None if there is no such verb."""
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise MdssError(f"verb {cmd_name}: {VERBS[cmd_name][0]} is a {type(command).__name__}; expected a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs with their descriptions, without importing any."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, sentence) for verb, (_, sentence) in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLE)
@click.version_option(package_name="mdss")
def mdss() -> None:
    """Find defects on parts from colour and shape, at an inspection station.

    Exit codes: 0 done, 1 failed, 2 something that was given is wrong (an option, a file, a setting), 130 stopped by Ctrl-C, SIGTERM or
    SIGHUP, 141 stopped because nobody reads the output any more, as in `mdss watch | head`. Those of `run` and `retrain`, and more on the
    others, are in docs/operations.md.
    """


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return its exit code: 0 done, 1 failed, 2 usage or configuration, 130 stopped by a signal, 141 output unread."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        # SIGINT stays as it is: a shell's background job ignores it
        with nullcontext() if words[:1] == [STATION] else signals_as_interrupt((signal.SIGTERM, signal.SIGHUP)):
            return _run(words)
    except (SystemExit, BrokenPipeError):  # SystemExit is how click and rich end a verb at a broken pipe; no verb raises it
        return UNREAD


def _run(words: list[str]) -> int:
    code, sentence = _outcome(words)
    # said once the error is gone, which keeps loops open: the progress lines that these end with come before
    if sentence and words[:1] == [STATION]:
        _log(sentence)
    elif sentence:
        click.echo(f"mdss: {sentence}", err=True)
    return code


def _log(sentence: str) -> None:
    """Write the last line of the station to stderr, its log, which nobody may be reading: its exit code stays what systemd goes by."""
    from mdss.logs import StandardError, last_line  # imported here because no other verb needs them

    StandardError().msg(last_line("mdss", sentence))


def _outcome(words: list[str]) -> tuple[int, str]:
    """Run one verb; return its exit code, and the sentence on what went wrong."""
    try:
        result = mdss.main(args=words, prog_name="mdss", standalone_mode=False)
        return result if isinstance(result, int) else 0, ""
    except click.ClickException as error:
        error.show()
        return MISUSED if isinstance(error, click.UsageError) else FAILED, ""
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    except MdssError as error:
        return MISUSED if isinstance(error, BadInput) else FAILED, str(error)
    except MemoryError as error:
        return FAILED, f"not enough memory: {str(error) or 'no more could be had'}"
    except OSError as error:  # a folder that cannot be written, a full disk: verbs need not handle these themselves
        return FAILED, _refusal(error)


def _refusal(error: OSError) -> str:
    """Return the sentence for an operating system error; if permission was denied, also whose file it is."""
    place = error.filename2 or error.filename
    if not place:
        return str(error)
    owner = other_owner(Path(str(place))) if isinstance(error, PermissionError) else ""
    whose = f"; it belongs to the user {owner}" if owner else ""
    return f"{place}: {error.strerror}{whose}"


if __name__ == "__main__":
    sys.exit(main())
