"""`demo`: the whole registry at work on real samples. Every step runs the verb that it shows."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from .output import Output
from .verb import FINE, NO, Cli, alerts_on_stderr, settings

if TYPE_CHECKING:
    from alphapulse.registry import Receipt, Token

SAMPLES: Final = ("optimism.tokenlist.json", "nse_equities.csv", "apple_listings.csv")
APPLE: Final = "US0378331005"
VENUES: Final = {
    "XNAS": ("Nasdaq", "US", "shares"), "XNYS": ("New York Stock Exchange", "US", "shares"),
    "XETR": ("Xetra", "DE", "percent"), "XFRA": ("Börse Frankfurt", "DE", "percent"),
    "XLON": ("London Stock Exchange", "GB", "percent"),
}  # fmt: skip
"""Where Apple trades: name, country, and which of the example schedules of fees each gets."""
USDC: Final = "ethereum:0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"
USDT: Final = "ethereum:0xdAC17F958D2ee523a2206206994597C13D831ec7"
SMALL_ID_BITS: Final = 12
WAIT_S_MAX: Final = 30


@click.command()
@partial(settings, home_help="Where to make a new home and keep it [else a temporary one].")
def demo(cli: Cli) -> int:
    """Show what the registry does, on the real samples that come with it.

    It works in a temporary home, which it removes; --home DIR makes a new home there and keeps
    it. $ALPHAPULSE_HOME is left alone. With --json, each step is a line: step, title, command,
    exit, seconds, output.
    """
    from alphapulse.log import EventLog

    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alphapulse-demo-")))
        home = cli.named_home or str(scratch / "home")
        EventLog.create(home)  # raises when there is one: the demo writes into its own only
        stage = _Stage(cli, home)
        began = time.perf_counter()
        _acts(stage, scratch)
        if not cli.json:
            _farewell(cli, home, time.perf_counter() - began)
    return FINE


def _acts(stage: _Stage, scratch: Path) -> None:
    with _samples() as paths:
        stage.run("Import a token list, 400 Indian equities and Apple's listings", "import", *paths)
    stage.run("Look up by ISIN", "lookup", APPLE)
    id = stage.id_of(APPLE)
    stage.run("Look up by id: the same instrument", "lookup", id)
    stage.run("Look up by chain and address", "lookup", USDC)
    stage.run("Look up by symbol: symbols are not unique, so all that match", "lookup", "USDC")
    stage.run("Where Apple trades: exchanges, currencies, and Tokyo in the past",
              "listings", APPLE)  # fmt: skip
    stage.act("Its venues, with the hours that come along, and fees that are only an example",
              "venue add XNAS --name Nasdaq --country US --kind exchange; hours set XNAS "
              "--bundled; fees set XNAS example_fees_shares.toml; …", _register_venues)  # fmt: skip
    stage.run("Apple's map: who is open, when the others open, and what each charges for 100",
              "listings", APPLE, "--fee-for", "100@190")  # fmt: skip
    stage.run("What trades both in London and on Xetra", "cross", "XLON", "XETR")
    stage.run("One token on all its chains", "listings", USDT)
    stage.act("A tail in another process catches a registration made here",
              "tail --follow --limit 1 kind=instrument.registered", _live_tail)  # fmt: skip
    _collide(stage, scratch)
    before = stage.head() - 1
    stage.run("A slip of the pen: Apple gets a wrong symbol", "amend", id, "--symbol", "APPL")
    stage.run("What Apple is called now", "lookup", id)
    stage.run("What it was called before: nothing is ever overwritten",
              "lookup", id, "--as-of", str(before))  # fmt: skip
    stage.run("Put it right", "amend", id, "--symbol", "AAPL")
    stage.run("Its history", "history", id)
    stage.run("Is all of this what was written?", "audit")
    stage.run("Do the views equal a fresh fold of the log?", "rebuild", "--check")


class _Stage:
    """Runs steps and shows them: for people as they go, with --json a line for each.

    What follows builds on them: the first that fails, or that somebody interrupts, is the last.
    """

    def __init__(self, cli: Cli, home: str) -> None:
        self.cli = cli
        self.home = home
        self._step = 0

    def run(self, title: str, *words: str, home: str = "", expected: int = FINE) -> None:
        """Runs a verb on the home; any other exit code than the expected one ends the demo."""
        shown = " ".join(os.path.basename(word) if os.path.isabs(word) else shlex.quote(word)
                         for word in words)  # fmt: skip

        def verb(stage: _Stage) -> tuple[int, list[object]]:
            from .cli import main

            arguments = ["--home", home or stage.home, *(["--json"] if stage.cli.json else [])]
            captured = BytesIO()
            sink = Output(json=stage.cli.json, stream=captured if stage.cli.json else None)
            sink.hints = False
            code = main.main([*arguments, *words], standalone_mode=False, obj=sink)
            assert isinstance(code, int)
            return code, [json.loads(line) for line in captured.getvalue().splitlines()]

        if home:
            shown = f"--home {os.path.basename(home)} {shown}"
        self.act(title, shown, verb, expected=expected)

    def act(
        self, title: str, command: str,
        body: Callable[[_Stage], tuple[int, list[object]]], *, expected: int = FINE,
    ) -> None:  # fmt: skip
        """One step: its title, what would be typed, and what it does."""
        from .cli import INTERRUPTED

        self._step += 1
        if not self.cli.json:
            self.cli.out.line()
            self.cli.out.line(f"{self._step}. {title}", "bold")
            self.cli.out.line(f"$ alphapulse {command}", "cyan")
            self.cli.out.flush()
        began = time.perf_counter()
        code, output = body(self)
        if self.cli.json:
            self.cli.out.records([{
                "step": self._step, "title": title, "command": f"alphapulse {command}",
                "exit": code, "seconds": f"{time.perf_counter() - began:.3f}", "output": output,
            }])  # fmt: skip
        self.cli.out.flush()
        if code == INTERRUPTED:
            raise click.exceptions.Exit(code)
        if code != expected:
            click.echo(f"step {self._step} ended with {code}, not {expected}", err=True)
            raise click.exceptions.Exit(NO)

    def say(self, text: str) -> None:
        if not self.cli.json:
            self.cli.out.line(text)

    def id_of(self, isin: str) -> str:
        from alphapulse.registry import Registry

        with Registry.open(self.home, mode="r") as registry:
            record = registry.by_isin(isin)
        assert record is not None, "the sample has it"
        return f"0x{record.id:016x}"

    def head(self) -> int:
        from alphapulse.log import EventLog

        with EventLog.open(self.home, mode="r") as log:
            return log.head


@contextlib.contextmanager
def _samples() -> Iterator[list[str]]:
    """Paths of the bundled files, wherever the package is."""
    with contextlib.ExitStack() as stack:
        folder = resources.files("alphapulse.tools") / "samples"
        yield [str(stack.enter_context(resources.as_file(folder / name))) for name in SAMPLES]


def _register_venues(stage: _Stage) -> tuple[int, list[object]]:
    """As the verbs would, for each venue."""
    from alphapulse.registry import Registry
    from alphapulse.registry.render import receipt_dict
    from alphapulse.registry.venues import Venue
    from alphapulse.registry.venues.fees_text import read_fees

    folder = resources.files("alphapulse.tools") / "samples"
    with Registry.open(stage.home) as registry:
        venues, receipts = registry.venues, []
        for key, (name, country, example) in VENUES.items():
            venue = Venue(key=key, name=name, country=country, kind="exchange")
            fees = read_fees((folder / f"example_fees_{example}.toml").read_bytes())
            receipts += [
                venues.add(venue, source="demo"), venues.set_hours(key),
                venues.set_fees(key, *fees, source="example"),
            ]  # fmt: skip
    stage.say(f"{len(VENUES)} venues registered, in {len(receipts)} events")
    return FINE, [receipt_dict(receipt) for receipt in receipts]


def _live_tail(stage: _Stage) -> tuple[int, list[object]]:
    """Starts `tail --follow`, registers something once it follows, shows what it printed."""
    command = [sys.executable, "-m", "alphapulse.tools.cli", "--home", stage.home, "tail",
               "--follow", "--limit", "1", "kind=instrument.registered"]  # fmt: skip
    if stage.cli.json:
        command.append("--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as other:
        lines = _followed(stage, other)
    for line in lines:
        stage.say(f"process {other.pid}: {line.strip()}")
    caught = other.returncode == 0 and len(lines) == 1
    return (FINE if caught else NO), [json.loads(x) for x in lines] if stage.cli.json else []


def _followed(stage: _Stage, other: subprocess.Popen[bytes]) -> list[str]:
    """What the other process printed of what is registered here once it follows; it has ended."""
    from alphapulse.registry import Equity, Registry

    try:
        assert other.stderr is not None
        waiting = select.poll()  # not select(), which knows no descriptor above 1023
        waiting.register(other.stderr, select.POLLIN)
        said = other.stderr.readline().decode() if waiting.poll(WAIT_S_MAX * 1_000) else ""
        stage.say(f"process {other.pid}: {said.strip()}")
        with Registry.open(stage.home) as registry:
            receipt = registry.register(
                Equity(isin="US5949181045", symbol="MSFT", name="Microsoft Corporation"),
                source="demo",
            )  # fmt: skip
        stage.say(f"process {os.getpid()}: registered MSFT, offset {receipt.offset}")
        stage.cli.out.flush()
        printed, _ = other.communicate(timeout=WAIT_S_MAX)
    finally:
        if other.poll() is None:
            other.kill()
            other.wait()
    return printed.decode().splitlines()


def _collide(stage: _Stage, scratch: Path) -> None:
    """Two keys that want one id, which takes a home with very short ids."""
    small = str(scratch / "small-ids")
    bits = str(SMALL_ID_BITS)
    stage.run(f"Ids of {bits} bits, to see two instruments want the same one",
              "init", "--id-bits", bits, home=small)  # fmt: skip
    found: list[Receipt] = []

    def register(stage: _Stage) -> tuple[int, list[object]]:
        from alphapulse.registry import Registry

        with alerts_on_stderr(), Registry.open(small) as registry:
            count = 0
            for token in _tokens():
                receipt = registry.register(token, source="demo")
                count += 1
                if receipt.outcome == "collision":
                    found.append(receipt)
                    break
        stage.say(f"token {count} of the list collides and is registered under a fallback id")
        return (FINE if found else NO), [{"registered": count}]

    stage.act("Register tokens until ids collide", "--home small-ids register -", register)
    stage.run("The alert that a person has to look at (so the exit code is 1)",
              "alerts", home=small, expected=NO)  # fmt: skip
    for receipt in found:
        stage.run("The newcomer is found under its fallback id",
                  "lookup", receipt.fingerprint.hex(), home=small)  # fmt: skip


def _tokens() -> Iterator[Token]:
    from alphapulse.registry import Token

    text = (resources.files("alphapulse.tools") / "samples" / SAMPLES[0]).read_bytes()
    for row in json.loads(text)["tokens"]:
        yield Token(
            chain=f"eip155:{row['chainId']}", address=row["address"], symbol=row["symbol"],
            name=row["name"], decimals=row["decimals"],
        )  # fmt: skip


def _program() -> str:
    """What to type for it here: `alphapulse` when the shell finds that, else how it was called."""
    called = sys.argv[0]
    if Path(called).name != "alphapulse":  # not by its command: from a test, or with python -m
        return "alphapulse"
    found = shutil.which("alphapulse")
    return "alphapulse" if found and os.path.samefile(found, called) else shlex.quote(called)


def _farewell(cli: Cli, home: str, elapsed_s: float) -> None:
    out, program = cli.out, _program()
    out.line()
    if cli.named_home is None:
        out.line(f"Done in {elapsed_s:.1f} s. The demo's homes were temporary and are removed.")
        out.line(f"Keep one with `{program} demo --home my-registry`, or start your own:")
        out.line(f"  {program} register equity --isin US0378331005 --symbol AAPL")
        out.line(f"  {program} lookup AAPL")
        out.line(f"  {program} --help")
        return
    named = f"{program} --home {shlex.quote(home)}"
    out.line(f"Done in {elapsed_s:.1f} s. The registry is kept in {os.path.abspath(home)}.")
    out.line("Next:")
    out.line(f"  {named} stats")
    out.line(f"  {named} lookup WBTC")
    out.line(f"  {named} tail class=token chain=eip155:10 --limit 5")
    out.line(f"  {named} tail --follow      and in another terminal:")
    out.line(f"  {named} register equity --isin US67066G1040 --symbol NVDA")
