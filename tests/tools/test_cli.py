from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from alphapulse.log import InvalidInput, LogFull
from alphapulse.registry import Registry
from alphapulse.tools import cli as cli_module
from alphapulse.tools import verb
from alphapulse.tools.cli import main

from .conftest import APPLE, MODULE, Run, environment, start

pytestmark = pytest.mark.usefixtures("forked_interpreters")

VERBS = [
    "demo", "init", "import", "watch", "register", "amend", "delist", "status", "add-listing",
    "end-listing", "relate", "unrelate", "seen", "proposals", "rules", "lookup", "listings",
    "instruments-at", "cross", "related", "candidates", "venue", "venues", "hours", "fees",
    "performance", "history", "diff", "blame", "tail", "replay", "audit", "rebuild", "backup",
    "restore", "fork", "export",
    "import-log", "cursors", "alerts", "stats",
]  # fmt: skip


def test_every_verb_is_there_and_explains_itself(run: Run) -> None:
    assert main.list_commands(click.Context(main)) == VERBS
    overview = run("--help")
    assert overview.code == 0
    for name in VERBS:
        assert re.search(rf"^  {name} +\S", overview.out, re.M), name
        explained = run(name, "--help")
        assert explained.code == 0
        assert "--home" in explained.out
        assert "--json" in explained.out
        assert max(map(len, explained.out.splitlines())) <= 80, name


def test_help_loads_no_verb_and_no_registry() -> None:
    code = (
        "import sys, alphapulse.tools.cli as cli\n"
        "assert cli.main.main(['--help'], standalone_mode=False) == 0\n"
        "assert not {'rich', 'msgspec', 'alphapulse.log', 'alphapulse.registry'} & {*sys.modules}"
    )
    new = [sys.executable, "-s", "-c", code]  # the flag: no fork of one that has loaded them all
    subprocess.run(new, check=True, stdout=subprocess.DEVNULL)


def test_version(run: Run) -> None:
    assert re.fullmatch(r"alphapulse, version \d+\.\d+\.\d+\n", run("--version").out)


@pytest.mark.parametrize("before", [True, False])
def test_home_and_json_stand_before_or_after_the_verb(
    run: Run, tmp_path: Path, before: bool
) -> None:
    options = ["--home", str(tmp_path / "named"), "--json"]
    words = [*options, "init"] if before else ["init", *options]
    assert run(*words).rows == [{"home": str(tmp_path / "named"), "id_bits": 64}]


def test_the_home_is_named_or_in_the_environment_or_here(
    run: Run, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init", "--json").rows[0]["home"] == str(home)
    assert "else $ALPHAPULSE_HOME, unless that is empty" in " ".join(run("--help").out.split())
    assert run("init", "--json", env={"ALPHAPULSE_HOME": ""}).rows[0]["home"] == str(
        tmp_path / "alphapulse-home"
    )


def test_an_empty_home_is_not_some_other_home(run: Run, home: Path) -> None:
    """A script whose variable is not set would write into the home of somebody else."""
    for words in (("--home", "", "register"), ("register", "--home", "")):
        ran = run(*words, "currency", "--code", "EUR", "--json")
        assert ran.code == 2 and "--home names no directory" in ran.error["error"]
    assert not home.exists()


READING = ["lookup X", "listings X", "history X", "tail", "replay", "audit", "rebuild", "alerts",
           "stats"]  # fmt: skip
WRITING = ["amend X --symbol Y", "delist X", "add-listing X --venue XNAS",
           "end-listing X --venue XNAS"]  # fmt: skip


@pytest.mark.parametrize("words", READING)
def test_a_missing_home_is_named_with_how_to_make_it(run: Run, home: Path, words: str) -> None:
    ran = run(*words.split())
    assert ran.code == 2
    assert str(home) in ran.err
    assert "alphapulse init" in ran.err
    as_json = run("--json", *words.split())
    assert (as_json.code, as_json.out) == (2, "")
    assert as_json.error["error"].startswith("HomeMissing: ")
    assert not home.exists()


def test_a_home_that_lost_its_log_is_not_made_anew(run: Run, home: Path, apple: int) -> None:
    assert run("backup", str(home.parent / "backup")).code == 0
    shutil.rmtree(home / "log")
    for words in ("lookup X", "init", "delist X", "audit"):
        ran = run("--json", *words.split())
        assert (ran.code, ran.out) == (2, "")
        assert "its log is gone" in ran.error["error"]
        assert "alphapulse restore" in ran.error["cure"]
        assert "init" not in ran.error["cure"]
    assert run("restore", str(home.parent / "backup"), "--home", str(home)).code == 0
    assert run("lookup", "AAPL").code == 0


@pytest.mark.parametrize("words", WRITING)
def test_a_writing_verb_makes_a_missing_home(run: Run, home: Path, words: str) -> None:
    """And then it does not know the instrument, as in any home without it."""
    ran = run("--json", *words.split())
    assert (ran.code, ran.out) == (1, "")
    assert ran.error["error"].startswith("UnknownInstrument: ")
    assert run("stats", "--json").rows[0]["head"] == 0


@pytest.mark.parametrize(
    "words", ["nope", "lookup", "lookup X --by foo", "stats extra", "alerts 3", "alerts --ack",
              "rebuild nosuch", "replay --into d class=token", "amend AAPL", "tail --limit 0"],
)  # fmt: skip
def test_bad_usage_is_exit_2_also_in_json(run: Run, apple: int, words: str) -> None:
    people = run(*words.split())
    assert (people.code, people.out) == (2, "")
    assert "Error: " in people.err
    machine = run("--json", *words.split())
    assert (machine.code, machine.out) == (2, "")
    assert machine.error["cure"].startswith("see `alphapulse")


def test_exit_codes_say_whose_turn_it_is() -> None:
    assert verb.exit_code(InvalidInput("x")) == 2
    assert verb.exit_code(LogFull("x")) == 1


def test_a_file_that_cannot_be_opened_is_exit_2(
    run: Run, apple: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/some/place")

    monkeypatch.setattr(Registry, "open", refuse)
    ran = run("stats", "--json")
    assert ran.code == 2
    assert ran.error["error"].endswith("Permission denied")
    assert "/some/place" in ran.error["doing"]


def test_a_bug_is_one_line_and_with_debug_a_traceback(
    run: Run, apple: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops \x1b[2J")

    monkeypatch.setattr(Registry, "open", fail)
    ran = run("stats")
    assert ran.code == 1
    assert ran.err.startswith("error: running this verb: ZeroDivisionError: oops \\x1b[2J\ncure: ")
    with pytest.raises(ZeroDivisionError):
        run("stats", env={"ALPHAPULSE_DEBUG": "1"})


def test_interrupting_is_exit_130(run: Run, apple: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Registry, "open", interrupt)
    ran = run("stats")
    assert (ran.code, ran.out, ran.err) == (130, "", "interrupted\n")


# As processes


def test_the_entry_point_is_installed(home: Path, apple: int) -> None:
    script = Path(sys.executable).with_name("alphapulse")
    if not script.exists():
        pytest.fail(f"{script} is missing: install this package")
    ran = subprocess.run(
        [script, "lookup", APPLE, "--json"], env=environment(home), capture_output=True, check=True
    )
    assert json.loads(ran.stdout)["id"] == f"0x{apple:016x}"


def test_following_ends_with_130_and_leaves_a_clean_home(run: Run, home: Path, apple: int) -> None:
    with start(home, "tail", "--follow", "--json", "kind=instrument.registered") as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert b"following from offset 7" in process.stderr.readline()
        assert run("register", "currency", "--code", "CHF").code == 0
        ready, _, _ = select.select([process.stdout], [], [], 30)
        assert ready, "each event is written as it comes"
        assert json.loads(process.stdout.readline())["offset"] == 7
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert err.strip() == b"interrupted"
    assert run("audit").code == 0


def test_a_reader_that_goes_away_is_quiet(home: Path, run: Run, apple: int) -> None:
    lines = "".join(
        json.dumps({"class": "token", "chain": "eip155:1", "address": f"0x{number:040x}",
                    "symbol": "T" * 64}) + "\n"
        for number in range(100, 500)
    )  # fmt: skip
    assert run("register", "-", stdin=lines).code == 0
    with start(home, "tail", "--raw", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


def in_a_shell(home: Path, line: str) -> tuple[int, str]:
    """Exit code of a line in which `alphapulse` is the command line, and what stderr got."""
    name = " ".join(MODULE)
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line.replace('alphapulse', name)}"],
        env=environment(home), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return ran.returncode, ran.stderr


def test_nobody_at_the_other_end_of_a_pipe_is_quiet(home: Path, apple: int) -> None:
    assert in_a_shell(home, "alphapulse --help | true") == (141, "")


@pytest.mark.parametrize("words, stdin, both", [
    ("stats", "", False), ("listings US0378331005 --json", "", False), ("lookup nothing", "", True),
    # The first answer is still in the buffer when the error of the second line is told:
    ("register -", '{"class":"currency","code":"CHF"}\nx\n', False),
])  # fmt: skip
def test_nobody_at_the_other_end_is_quiet(
    home: Path, apple: int, words: str, stdin: str, both: bool
) -> None:
    """both: stderr goes there too."""
    other_end, pipe = os.pipe()
    os.close(other_end)
    try:
        ran = subprocess.run(
            [*MODULE, *words.split()], env=environment(home), input=stdin.encode(), stdout=pipe,
            stderr=pipe if both else subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(pipe)
    assert (ran.returncode, ran.stderr or b"") == (141, b"")


@pytest.mark.parametrize("line", [
    "alphapulse stats >&-", "alphapulse tail --json >&-", "alphapulse --help >&-",
    "alphapulse audit >&- 2>&-", "alphapulse rebuild 2>&-", "alphapulse register - <&-",
    "alphapulse stats | head -1",
])  # fmt: skip
def test_a_closed_stream_is_as_dev_null(home: Path, run: Run, apple: int, line: str) -> None:
    code, complaints = in_a_shell(home, line)
    assert (code, complaints.replace("stdin had no lines\n", "")) == (0, "")
    assert run("audit").code == 0


def test_a_program_gets_each_answer_before_it_writes_again(home: Path) -> None:
    with start(home, "register", "-", "--json", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for code, outcome in (("CHF", "new"), ("EUR", "new"), ("CHF", "unchanged")):
            process.stdin.write(json.dumps({"class": "currency", "code": code}).encode() + b"\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], 30)
            assert ready
            assert json.loads(process.stdout.readline())["outcome"] == outcome
        process.stdin.close()
        assert process.wait(30) == 0


def on_a_terminal(home: Path, *words: str) -> tuple[int, str]:
    """Exit code and output of a verb whose streams are a terminal of 80 columns."""
    terminal, theirs = os.openpty()
    with subprocess.Popen(
        [*MODULE, *words], env=environment(home), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        output = b""
        with contextlib.suppress(OSError):  # which is how its end is told
            while data := os.read(terminal, 65536):
                output += data
    os.close(terminal)
    return process.returncode, output.decode()


def test_a_terminal_gets_colours_a_pipe_does_not(home: Path, run: Run, apple: int) -> None:
    run("register", "token", "--chain", "eip155:1", "--address", "0x" + "a" * 40, "--symbol",
        "[red]", "--name", "[Legacy] thing")  # fmt: skip
    code, output = on_a_terminal(home, "lookup", "[red]")
    assert code == 0
    assert "\x1b[" in output
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output)
    assert "[red]" in text
    assert "[Legacy] thing" in text
    code, output = on_a_terminal(home, "listings", APPLE)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output)
    assert code == 0
    assert max(map(len, text.splitlines())) <= 80
    assert "XTKS" in text
    piped = run("listings", APPLE).out
    assert piped.isascii()
    assert "\x1b" not in piped


def test_a_terminal_sees_progress_and_json_stays_clean(home: Path, apple: int) -> None:
    code, output = on_a_terminal(home, "rebuild", "--check", "--json")
    assert code == 0
    lines = [line for line in output.splitlines() if line.startswith("{")]
    assert "\x1b[" in output  # the bar, on stderr
    assert [json.loads(line)["equal"] for line in lines] == [True] * len(lines)


def test_the_table_of_verbs_names_real_commands() -> None:
    for name in cli_module._VERBS:
        command = main.get_command(click.Context(main), name)
        assert isinstance(command, click.Command)
        assert command.name in (name, "import-")
