"""The command line `alphapulse`. Verbs are loaded when they are run, so that --help is quick."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import click

INTERRUPTED: Final = 130
READER_GONE: Final = 141
"""As a shell says it of whoever dies of SIGPIPE."""


class Verb(NamedTuple):
    module: str
    """In this package."""
    command: str
    """Its name there."""
    help: str
    """One line."""


_VERBS: Final[dict[str, Verb]] = {
    "demo": Verb("demo", "demo", "Show what the registry does, on real samples."),
    "init": Verb("home", "init", "Make a home, the directory of a registry."),
    "import": Verb("importing", "import_", "Register what is in token lists and listing files."),
    "watch": Verb("watching", "watch", "Import what feeds leave in directories, each file once."),
    "register": Verb("write", "register", "Register an instrument, or say more of it."),
    "amend": Verb("write", "amend", "Correct what is known of an instrument."),
    "delist": Verb("write", "delist", "Say that an instrument is delisted."),
    "status": Verb("status", "status", "Move an instrument, a venue or a listing to a status."),
    "add-listing": Verb("write", "add_listing", "Say that an instrument is listed at a venue."),
    "end-listing": Verb("write", "end_listing", "Say when a listing ends."),
    "relate": Verb("write", "relate", "Say how two instruments are related."),
    "unrelate": Verb("write", "unrelate", "Say when a relation ends."),
    "seen": Verb("write", "seen", "Say that a source saw an instrument, known or not."),
    "proposals": Verb("proposals", "proposals", "Show what is proposed; confirm or refuse it."),
    "rules": Verb("proposals", "rules", "Show or state what holds for sources."),
    "lookup": Verb("lookup", "lookup", "Find instruments by id, ISIN, address or symbol."),
    "listings": Verb("lookup", "listings", "Show where it trades, or on which chains it is."),
    "instruments-at": Verb("cross", "instruments_at", "Show what is listed at a venue."),
    "cross": Verb("cross", "cross", "Show what trades at both of two venues."),
    "related": Verb("related", "related", "Show relations, both ways and through others."),
    "candidates": Verb(
        "candidates", "candidates", "Show instruments that look alike, and decide about them."
    ),
    "venue": Verb("venues", "venue", "Show a venue, add one, or correct what is known of it."),
    "venues": Verb("venues", "venues", "Show which venues there are."),
    "hours": Verb("hours", "hours", "Show or say when a venue trades."),
    "fees": Verb("fees", "fees", "Show or say what a venue charges; compute a fee."),
    "performance": Verb(
        "performance", "performance", "Take samples of venues; show how they behave."
    ),
    "history": Verb("lookup", "history", "Show every event about an instrument."),
    "diff": Verb("changes", "diff", "Show what changed between two offsets or times."),
    "blame": Verb("changes", "blame", "Show which event set each field of an instrument."),
    "tail": Verb("tail", "tail", "Show events by pattern, and follow new ones."),
    "replay": Verb("tail", "replay", "Show events again, or copy a prefix into a new home."),
    "audit": Verb("audit", "audit", "Check that a home is what was written."),
    "rebuild": Verb("audit", "rebuild", "Rebuild views from the log, or compare them with it."),
    "backup": Verb("lifecycle", "backup", "Make or update a backup while others write."),
    "restore": Verb("lifecycle", "restore", "Bring a backup back into an empty home."),
    "fork": Verb("lifecycle", "fork", "Make a new home that goes on from an earlier event."),
    "export": Verb("lifecycle", "export", "Write the log into one file that goes anywhere."),
    "import-log": Verb("lifecycle", "import_log", "Make a home from an exported file."),
    "cursors": Verb("cursors", "cursors", "Show how far named subscribers are; reset one."),
    "alerts": Verb("alerts", "alerts", "Show collisions and conflicts, and acknowledge them."),
    "stats": Verb("home", "stats", "Show counts, the chain head and the state of the views."),
}

_EPILOG: Final = """\b
Results go to stdout and everything else to stderr. With --json, stdout has one
JSON object a line, and an error is {"error", "doing", "cure"} on stderr.
Exit codes: 0 fine; 1 a check failed, a key was not found, or it was refused;
2 bad usage or unusable input; 130 interrupted; 141 nobody reads the output.
"""


class VerbGroup(click.Group):
    """A group that knows its verbs by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        verb = _VERBS[cmd_name]
        command = getattr(importlib.import_module(f".{verb.module}", __package__), verb.command)
        assert isinstance(command, click.Command)
        command.short_help = verb.help
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.help) for name, verb in _VERBS.items()])

    def main(  # type: ignore[override]  # click's overloads promise NoReturn
        self, args: Sequence[str] | None = None, prog_name: str | None = None,
        complete_var: str | None = None, standalone_mode: bool = True, **extra: Any,
    ) -> int:  # fmt: skip
        """Runs a verb and exits with its code, or returns it when `standalone_mode` is false."""
        arguments = list(sys.argv[1:] if args is None else args)
        name = prog_name or "alphapulse"
        if not standalone_mode:
            return self._run(arguments, name, extra)
        _open_closed_streams()
        self._main_shell_completion(extra, name, complete_var)
        try:
            code = self._run(arguments, name, extra)
            sys.stdout.flush()
        except BrokenPipeError:
            _silence()
            code = READER_GONE
        sys.exit(code)

    def _run(self, arguments: list[str], name: str, extra: dict[str, Any]) -> int:
        """Exit code of a verb. Raises BrokenPipeError when whoever reads the output is gone."""
        as_json = "--json" in arguments
        try:
            with self.make_context(name, arguments, **extra) as context:
                code = self.invoke(context)
            return code if isinstance(code, int) else 0
        except click.exceptions.Exit as stop:
            return stop.exit_code
        except click.ClickException as error:
            _show_usage_error(error, as_json)
            return error.exit_code
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            return INTERRUPTED
        except BrokenPipeError:
            raise
        except Exception as error:
            return _show(error, as_json)


def _show_usage_error(error: click.ClickException, as_json: bool) -> None:
    if not as_json:
        error.show()
        return
    from .output import print_error_json

    context = getattr(error, "ctx", None)
    path = context.command_path if context else "alphapulse"
    print_error_json(
        {"error": f"{type(error).__name__}: {error.format_message()}", "doing": f"reading `{path}`",
         "cure": f"see `{path} --help`"}
    )  # fmt: skip


def _show(error: Exception, as_json: bool) -> int:
    """Prints an error that ended a verb; returns the exit code."""
    from alphapulse.log import AlphaPulseError

    from .output import print_error, print_error_json
    from .verb import exit_code

    debug = bool(os.environ.get("ALPHAPULSE_DEBUG"))
    if isinstance(error, AlphaPulseError) and not debug:
        print_error(error, as_json=as_json)
        return exit_code(error)
    if debug:
        raise error
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        problem, cure = error.strerror or str(error), "check that path, its rights and the disk"
        doing, code = f"working with files{where}", 2
    else:
        problem, doing, code = str(error), "running this verb", 1
        cure = "this is a bug: run it again with ALPHAPULSE_DEBUG=1 and report what it prints"
    problem = f"{type(error).__name__}: {problem}"
    if as_json:
        print_error_json({"error": problem, "doing": doing, "cure": cure})
    else:
        print_error(AlphaPulseError(doing, problem=problem, cure=cure), as_json=False)
    return code


def _open_closed_streams() -> None:
    """Opens /dev/null for each standard stream that is closed (`>&-`).

    Else the next file to be opened, perhaps the log, would get the number of that stream, and
    what some library or child says to "stderr" would be written into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  # for good
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _silence() -> None:
    """Whoever read our output is gone: the interpreter's last flush must not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


@click.group(
    cls=VerbGroup, epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)  # fmt: skip
@click.option(
    "--home", metavar="DIR", envvar="ALPHAPULSE_HOME",
    help="The registry's directory [else $ALPHAPULSE_HOME, unless that is"
    " empty; else ./alphapulse-home].",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout.")
@click.version_option(package_name="alphapulse", prog_name="alphapulse")
def main(home: str | None, as_json: bool) -> None:
    """AlphaPulse: an event-sourced registry of financial instruments.

    --home and --json may stand before or after the verb. `alphapulse VERB --help` explains a
    verb; `alphapulse demo` shows the registry at work.
    """


if __name__ == "__main__":
    main()
