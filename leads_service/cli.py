"""The operator's commands: flask leads …"""

import contextlib
import csv
import math
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup
from werkzeug.datastructures import MultiDict

from leads_service.cli_access import key, row_security
from leads_service.cli_errors import one_sentence
from leads_service.contract.lead import LeadBody
from leads_service.contract.lists import FeedQuery, SelectionQuery, load_query
from leads_service.contract.vocabulary import parse_uuid
from leads_service.database import migrator
from leads_service.database.acting import act_for_operator
from leads_service.database.pool import database
from leads_service.leads.figures.demo import LEADS, make_demo
from leads_service.leads.past.changes import changes_after
from leads_service.leads.past.history import purge
from leads_service.leads.past.undo import is_run, undo_import
from leads_service.leads.personal.erasing import allow
from leads_service.leads.personal.retention import erase_unchanged, how_many_unchanged
from leads_service.transfer.exporting import export_leads
from leads_service.transfer.files.formats import EXPORT_TYPES, ON_CONFLICT, ExportQuery
from leads_service.transfer.importing import import_leads
from leads_service.transfer.opening import open_source
from leads_service.transfer.sources import REJECT_HEADING
from leads_service.transfer.verifying import verify as compare


@click.group("leads", cls=AppGroup)
def leads():
    """Operate the leads service."""
    act_for_operator()
    database.slow_query = math.inf  # an operator waits for it and sees it


leads.add_command(key)
leads.add_command(row_security)


def _end(number, frame):
    # As an exception, so that what is open is closed: the statement under way, the embedded server.
    raise SystemExit(128 + number)


@leads.command()
@click.option("--status", is_flag=True, help="List the migrations and when each was applied.")
@click.option("--to", "target", metavar="NAME", help="Apply or revert until NAME is the last one applied.")
@click.option("--down", is_flag=True, help="Revert the last one applied.")
def migrate(status, target, down):
    """Bring the database's schema up to date."""
    if status + down + bool(target) > 1:
        raise click.UsageError("--status, --to and --down exclude each other.")
    with one_sentence():
        if status:
            for name, applied in migrator.status(database).items():
                click.echo(f"{name}  {f'applied {applied:%Y-%m-%d %H:%M:%S}' if applied else 'pending'}")
            return
        done = 0
        if not down:
            for name in migrator.up(database, target):
                click.echo(f"Applied {name}")
                done += 1
        if down or target:
            for name in migrator.down(database, target):
                click.echo(f"Reverted {name}")
                done += 1
        if not done:
            click.echo("Nothing to do.")


def _rules():
    return LeadBody(current_app.extensions["leads_settings"].phone_prefix)


def _pairs(context, parameter, pairs):
    for pair in pairs:
        if "=" not in pair:
            raise click.BadParameter(f"{pair} is not {parameter.metavar}.")
    return dict(pair.split("=", 1) for pair in pairs)


_SOURCE = click.argument("source")
_DEFAULTS = click.option("--default", "defaults", metavar="KEY=VALUE", multiple=True, callback=_pairs,
                         help="What a blank or absent KEY is taken for; may be repeated.")


@contextlib.contextmanager
def _progress(source, seen):
    """A function to call after each batch with what `seen` counts rows of: a bar with rate and remaining time on a
    terminal, a line every 5 seconds otherwise."""
    started = said = time.monotonic()

    def rate(result):
        return f"{seen(result)} rows, {seen(result) / max(time.monotonic() - started, 0.001):.0f} rows/s"

    if sys.stderr.isatty():
        with click.progressbar(length=max(source.size, 1), file=sys.stderr, item_show_func=lambda shown: shown) as bar:
            yield lambda result: bar.update(source.position() - bar.pos if source.size else 0, rate(result))
        return

    def say(result):
        nonlocal said
        if time.monotonic() - said >= 5:
            said = time.monotonic()
            click.echo(rate(result), err=True)

    yield say


_MAP = click.option("--map", "words", metavar="WORD=WORD", multiple=True, callback=_pairs,
                    help="What a word of the status or stage means, such as Qualifié=contacted; may be repeated.")


@leads.command("import")
@_SOURCE
@click.option("--on-conflict", type=click.Choice(ON_CONFLICT), default="skip", show_default=True,
              help="What to do with a lead that is there already, by id or else by e-mail.")
@click.option("--dry-run", is_flag=True, help="Report the same and write nothing.")
@click.option("--rejects", type=click.Path(dir_okay=False, writable=True, path_type=Path),
              help="A CSV file for the rows that cannot come: line, column, code, message, then the original row.")
@_DEFAULTS
@_MAP
def import_(source, on_conflict, dry_run, rejects, defaults, words):
    """Bring in the leads of SOURCE: a CSV, NDJSON or JSON file, - for standard input, or the postgresql:// URL of the
    old database (with ?table= when its table is not leads)."""
    signal.signal(signal.SIGTERM, _end)
    with contextlib.ExitStack() as scope:
        scope.enter_context(one_sentence())
        opened = scope.enter_context(open_source(source))
        reject = _echo_reject
        if rejects:
            if rejects.exists() and Path(source).exists() and rejects.samefile(source):
                raise click.UsageError("--rejects would overwrite the source.")
            # Bytes that were not UTF-8 leave as they came.
            writer = csv.writer(scope.enter_context(
                open(rejects, "w", newline="", encoding="utf-8", errors="surrogateescape")))
            writer.writerow([*REJECT_HEADING, *(opened.headings or ["row"])])

            def reject(row, fault):
                writer.writerow([row.line, fault.column, fault.code, fault.message, *row.original])

        progress = scope.enter_context(_progress(opened, lambda report: report.rows))
        report = import_leads(database, opened, _rules(), None, on_conflict=on_conflict, dry_run=dry_run,
                              defaults=defaults, words=words, reject=reject, progress=progress)
    _echo_understood(report.reader.described("en"))
    if report.unknown:
        click.echo(f"No column, kept in notes: {', '.join(report.unknown)}")
    click.echo(f"{report.created} created, {report.updated} updated, {report.skipped} skipped, "
               f"{report.rejected} rejected" + " (dry run: nothing was written)" * dry_run)
    if report.run:
        click.echo(f"run {report.run}")
    if report.rejected:
        raise SystemExit(1)


@leads.command("undo-import")
@click.argument("run", type=click.UUID)
def undo_import_(run):
    """Take back what the import RUN created or changed, save leads that were changed since, which it names. Exit status
    0 when none was left; can be repeated."""
    deleted = restored = left = 0
    with one_sentence():
        database.lift_time_limit()
        if not is_run(run):
            raise click.ClickException(f"The history has no import {run}.")
        for undone in undo_import(run):
            deleted, restored, left = deleted + undone.deleted, restored + undone.restored, left + len(undone.left)
            for each in undone.left:
                why = each.code or f"changed by {each.who} on {each.at:%Y-%m-%d %H:%M:%S}"
                click.echo(f"left: {each.lead_id}  {each.name}  {why}")
    click.echo(f"{deleted} deleted, {restored} as they were, {left} left")
    if left:
        raise SystemExit(1)


def _echo_understood(told):
    """What was understood of the source, a line each; to standard error, since it is no result."""
    how = ", ".join(f"{name} {told[name]}" for name in ("encoding", "delimiter") if told[name])
    click.echo(f"Read as {told['format']}" + (f" ({how})" if how else ""), err=True)
    renamed = [f"{heading} → {column}" for heading, column in told["columns"].items() if heading != column]
    if renamed:
        click.echo(f"Columns: {', '.join(renamed)}", err=True)
    for sentence in told["assumptions"]:
        click.echo(f"Assumed: {sentence}", err=True)
    for column, words in told["unknown_words"].items():
        counted = ", ".join(f"{word} ({count})" for word, count in words.items())
        click.echo(f"Unknown words of {column}: {counted}. --map 'WORD=contacted' says what one means.", err=True)


def _echo_reject(row, fault):
    click.echo(f"line {row.line}: {fault.column or 'row'}: {fault.message}", err=True)


@leads.command()
@_SOURCE
@_DEFAULTS
@_MAP
def verify(source, defaults, words):
    """Compare SOURCE with the table, field by field. Exit status 0 when nothing is missing or different."""
    with one_sentence(), open_source(source) as opened, _progress(opened, lambda verdict: verdict.rows) as progress:
        verdict = compare(database, opened, _rules(), defaults=defaults, words=words, progress=progress)
    for example in verdict.examples:
        click.echo(example)
    fields = ", ".join(f"{column} {count}" for column, count in verdict.differing.most_common())
    click.echo(f"source: {verdict.rows} rows; table: {verdict.leads} leads")
    click.echo(f"missing: {verdict.missing}; different fields: {fields or 'none'}; "
               f"breaking a rule: {verdict.unreadable} ({verdict.corrected} of them corrected in the table)")
    if not verdict.clean:
        raise SystemExit(1)


def _filter_options(command):
    for name in reversed(SelectionQuery().fields):
        option = "--" + name.replace("_", "-")
        command = click.option(option, name, multiple=True, help="As the list parameter of that name.")(command)
    return command


@leads.command()
@click.option("--format", "format", type=click.Choice(list(EXPORT_TYPES)), default="csv", show_default=True)
@_filter_options
def export(format, **filters):
    """Write the leads, or those that the filters select, to standard output."""
    prefix = current_app.extensions["leads_settings"].phone_prefix
    given = MultiDict([(name, value) for name, values in filters.items() for value in values])
    with one_sentence():
        selection, _ = load_query(ExportQuery(), given)
        output = click.get_binary_stream("stdout")
        for piece in export_leads(database, selection, prefix, format, None):
            output.write(piece)


@leads.command()
def demo():
    """Make 300 invented leads with a history, for trying the service; only where there are none."""
    with one_sentence():
        if not make_demo():
            raise click.ClickException("The database holds leads already; the demo is for one without.")
    click.echo(f"{LEADS} leads made")


@leads.command()
@click.option("--after", metavar="CURSOR|start", help="Go on behind this cursor, the last one printed; start: from the "
              "beginning of what is kept. Otherwise from now on.")
def follow(after):
    """Print the changes as they are committed, as NDJSON: a line a change, with the cursor to go on from. Looks each
    second, until SIGINT or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    with one_sentence():
        page = load_query(FeedQuery(), MultiDict({"after": after} if after else {}))
        place = page.place
        while True:
            feed = changes_after(place, page.selection, "", None, page.limit)
            database.close()
            for change in feed.changes:
                click.echo(f'{change.row[:-1]},"cursor":"{page.cursor(change.place)}"}}')
            if feed.place == place:
                time.sleep(1)
            place = feed.place


@leads.group()
def history():
    """What PostgreSQL keeps of every change of a lead."""


@history.command("purge")
@click.option("--older-than", "days", type=click.IntRange(1, 36500), metavar="DAYS", required=True,
              help="Forget changes of over DAYS days ago.")
def purge_(days):
    """Forget the changes of long ago: no history and no feed has them any more, and nothing is restored from them."""
    with one_sentence():
        database.lift_time_limit()
        click.echo(f"{sum(purge(days))} changes forgotten")


class _Days(click.ParamType):
    """Days, as in 1095 or 1095d; an integer."""

    name = "days"

    def convert(self, value, parameter, context):
        digits = str(value).removesuffix("d")
        if not (digits.isascii() and digits.isdecimal() and 1 <= int(digits[:6]) <= 36500):
            self.fail(f"{value} is no number of days from 1 to 36500, such as 1095d.", parameter, context)
        return int(digits)


@leads.command()
@click.option("--older-than", "days", type=_Days(), metavar="DAYS", required=True,
              help="Erase leads that nobody changed for DAYS days, such as 1095d.")
@click.option("--dry-run", is_flag=True, help="Count them and erase nothing.")
def retention(days, dry_run):
    """Erase the leads that were never converted and that nobody changed for long, with the reason retention, from every
    place that holds something of them."""
    rows = Counter()
    with one_sentence():
        database.lift_time_limit()
        if dry_run:
            click.echo(f"{how_many_unchanged(days)} leads would be erased (dry run: nothing was erased)")
            return
        for erased in erase_unchanged(days):
            rows.update(erased)
    click.echo(f"{rows.pop('leads', 0)} leads erased")
    for table, count in rows.items():
        click.echo(f"{table}: {count} rows")


@leads.command("allow")
@click.argument("who")
def allow_(who):
    """Let a person who was erased come back by an import: WHO is their e-mail, phone or lead's id."""
    lead_id = parse_uuid(who)
    with one_sentence():
        if lead_id:
            found = allow(lead_id, None, None)
        elif "@" in who:
            found = allow(None, _rules().fields["email"].deserialize(who), None)
        else:
            found = allow(None, None, _rules().fields["phone"].deserialize(who))
    if not found:
        raise click.ClickException("Nobody who was erased is known by that.")
    click.echo(f"{found} erased may come back")
