"""`audit` and `rebuild`: is it what was written, and do the views say what the log says?"""

from __future__ import annotations

import click

from .output import Column, progress, short_hash
from .verb import FINE, NO, Cli, settings


@click.command()
@settings
def audit(cli: Cli) -> int:
    """Check that the home is what was written. Exit 1 if any verdict fails.

    \b
    bytes       every event has the bytes that were written (CRC, sizes, columns)
    continuity  offsets and times go on without a gap, entities link back
    chain       the hash chain holds, as every checkpoint saw it; no view saw more
    meaning     ids derive from keys, collisions and life cycles follow the rules
    views       each view equals a fresh fold of the log

    When one of the first three fails, the home is read-only until an audit finds them good.

    JSON fields: verdict, ok, checked, rate_per_s, first_bad_offset, detail, cure.
    """
    from alphapulse.registry.audit import audit as run
    from alphapulse.registry.render import verdict_dict

    with progress("audit") as report:
        verdicts = run(cli.home, progress=lambda name, done: report(done, None, name))
    if cli.json:
        cli.out.records(verdict_dict(verdict) for verdict in verdicts)
    else:
        cli.out.table(
            [Column("verdict"), Column("result"), Column("checked", right=True),
             Column("rate_per_s", "events/s", right=True),
             Column("first_bad_offset", "first bad", right=True), Column("detail")],
            [verdict_dict(v) | {"result": "ok" if v.ok else "FAILED"}
             for v in verdicts],
        )  # fmt: skip
        for cure in dict.fromkeys(v.cure for v in verdicts if not v.ok and v.cure):
            cli.note(f"cure: {cure}")
    return FINE if all(verdict.ok for verdict in verdicts) else NO


@click.command()
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@click.option("--check", is_flag=True, help="Build beside and compare only; change nothing.")
@settings
def rebuild(cli: Cli, views: tuple[str, ...], check: bool) -> int:
    """Rebuild views from the log, all of them or those named, while readers go on.

    With --check, exit 1 when a view differs from the log; the keys of the rows that differ go to
    stderr. JSON fields: view, events, events_per_s, digest, live_digest, equal.
    """
    from alphapulse.projections import VIEWS_BY_NAME
    from alphapulse.registry.fields import id_text
    from alphapulse.registry.render import rebuilt_dict

    unknown = [name for name in views if name not in VIEWS_BY_NAME]
    if unknown:
        raise click.UsageError(
            f"there is no view {', '.join(unknown)}; the views are {', '.join(VIEWS_BY_NAME)}"
        )
    with cli.registry(write=True) as registry, progress("rebuild") as report:
        results = registry.rebuild(
            views, check=check, progress=lambda name, done, of: report(done, of, name)
        )
    if cli.json:
        cli.out.records(map(rebuilt_dict, results))
    else:
        cli.out.table(
            [Column("view"), Column("result"), Column("events", right=True),
             Column("events_per_s", "events/s", right=True), Column("digest"),
             Column("live_digest", "live")],
            [rebuilt_dict(r) | {
                "result": "equal" if r.equal else "differs", "digest": short_hash(r.digest.hex()),
                "live_digest": short_hash(r.live_digest.hex() if r.live_digest else None),
            } for r in results],
        )  # fmt: skip
    for result in results:
        for key in result.differing:
            click.echo(f"{result.view}: row {id_text(key)} differs from the log", err=True)
    if all(result.equal for result in results):
        return FINE
    cli.note("cure: `alphapulse rebuild`" if check else "the views were wrong and are right now")
    return NO if check else FINE
