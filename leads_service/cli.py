"""The operator's commands: flask leads …"""

import contextlib
import csv
import math
import signal
import sys
import time
from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup
from marshmallow import ValidationError
from peewee import IntegrityError, PeeweeException
from playhouse.migrations import MigrationError
from werkzeug.datastructures import MultiDict

from leads_service.access import keys
from leads_service.access import row_security as rls
from leads_service.access.callers import ROLE_NAMES
from leads_service.contract.lead import LeadBody
from leads_service.contract.lists import FeedQuery, SelectionQuery, load_query
from leads_service.contract.problems import Problem, validation_problem
from leads_service.contract.sentences import in_language
from leads_service.database import migrator
from leads_service.database.acting import IMPORT, OPERATOR, act_for_operator
from leads_service.database.failures import database_problem, driver_message
from leads_service.database.pool import database
from leads_service.leads.figures.demo import LEADS, make_demo
from leads_service.leads.past.changes import changes_after
from leads_service.leads.past.history import purge
from leads_service.leads.past.undo import is_run, undo_import
from leads_service.transfer.exporting import ExportError, export_leads
from leads_service.transfer.files.formats import EXPORT_TYPES, ON_CONFLICT, ExportQuery
from leads_service.transfer.importing import ImportStopped, import_leads
from leads_service.transfer.opening import open_source
from leads_service.transfer.sources import REJECT_HEADING, SourceError
from leads_service.transfer.verifying import verify as compare
from leads_service.transfer.writing import ConflictError


@click.group("leads", cls=AppGroup)
def leads():
    """Operate the leads service."""
    act_for_operator()
    database.slow_query = math.inf  # an operator waits for it and sees it


@contextlib.contextmanager
def _one_sentence():
    """What an operator can act on becomes one sentence and exit status 1."""
    try:
        yield
    except (MigrationError, rls.RowSecurityError) as error:
        raise click.ClickException(str(error)) from error
    except (ExportError, SourceError) as error:
        raise click.ClickException(in_language(error.sentence, "en")) from error
    except ConflictError as error:
        raise click.ClickException(f"Line {error.row.line}: {in_language(error.fault.message, 'en')} "
                                   "Nothing was written.") from error
    except ValidationError as error:
        name, messages = next(iter(validation_problem(error.normalized_messages()).detail.items()))
        raise click.ClickException(f"{name}: {in_language(messages[0], 'en')}") from error
    except Problem as problem:
        raise click.ClickException(in_language(problem.sentence, "en")) from problem
    except PeeweeException as error:
        raise click.ClickException(f"The database refused: {driver_message(error)}.") from error
    except ImportStopped as stopped:
        run = "" if stopped.undone else f" Run {stopped.report.run}."
        ended = click.ClickException(f"{_why(stopped.__cause__)} {in_language(stopped.done, 'en')}{run}")
        ended.exit_code = stopped.__cause__.code if isinstance(stopped.__cause__, SystemExit) else 1
        raise ended from stopped


def _why(cause):
    """The reason why an import was stopped, as a sentence."""
    if isinstance(cause, KeyboardInterrupt | SystemExit):
        return "Stopped by a signal."
    if isinstance(cause, Problem):
        return in_language(cause.sentence, "en")
    if isinstance(cause, PeeweeException):
        return f"The database refused: {driver_message(cause)}."
    raise cause


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
    with _one_sentence():
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
        scope.enter_context(_one_sentence())
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
    with _one_sentence():
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
    with _one_sentence(), open_source(source) as opened, _progress(opened, lambda verdict: verdict.rows) as progress:
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
    with _one_sentence():
        selection, _ = load_query(ExportQuery(), given)
        output = click.get_binary_stream("stdout")
        for piece in export_leads(database, selection, prefix, format, None):
            output.write(piece)


@leads.command()
def demo():
    """Make 300 invented leads with a history, for trying the service; only where there are none."""
    with _one_sentence():
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
    with _one_sentence():
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
    with _one_sentence():
        database.lift_time_limit()
        click.echo(f"{sum(purge(days))} changes forgotten")


@leads.group()
def key():
    """Who may come in with an API key (LEADS_AUTH=keys)."""


def _key_name(context, parameter, name):
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise click.BadParameter("must have 1 to 100 printable characters.")
    return name.strip()


@key.command()
@click.argument("name", callback=_key_name)
@click.option("--role", type=click.Choice([*ROLE_NAMES]), required=True,
              help="reader: GET; editor: also create, update, convert; admin: also delete, import, export.")
@click.option("--company", type=click.UUID, help="Only the leads of this company (its id); otherwise all leads.")
def create(name, role, company):
    """Make a key called NAME and show its secret, this once."""
    if name in (OPERATOR, IMPORT):
        raise click.BadParameter(f"{name} is what leads written by the commands are signed with.")
    with _one_sentence():
        try:
            secret = keys.create(database, name, role, company)
        except IntegrityError as error:
            problem = database_problem(error)
            raise click.ClickException(
                f"There is no company {company}." if problem and problem.code == "foreign_key" else
                f"There is a key called {name} already; a revoked one keeps its name too.") from error
    click.echo(secret)
    click.echo("It is shown this once; the database has its SHA-256 only.", err=True)


@key.command("list")
def list_():
    """List the keys."""
    with _one_sentence():
        for each in keys.listed(database):
            state = f"revoked {each.revoked_at:%Y-%m-%d %H:%M:%S}" if each.revoked_at else "valid"
            click.echo(f"{each.name}  {each.role}  {each.company_id or 'every company'}  …{each.ending}  "
                       f"created {each.created_at:%Y-%m-%d %H:%M:%S}  {state}")


@key.command()
@click.argument("name")
def revoke(name):
    """Revoke the key called NAME. The service stops taking it within 30 seconds."""
    with _one_sentence():
        if not keys.revoke(database, name):
            raise click.ClickException(f"There is no key called {name}.")
    click.echo(f"Revoked {name}.")


@leads.group("rls")
def row_security():
    """Row security: PostgreSQL itself keeps the service to the leads of the caller (LEADS_RLS=1)."""


@row_security.command()
@click.argument("role")
def enable(role):
    """Keep the PostgreSQL role ROLE, as which the service is to connect, to the leads of the caller.

    Run it as the owner of the table leads. ROLE exists, is no superuser, has no BYPASSRLS and owns nothing here; it is
    granted what the service needs. Other roles see what they saw before.
    """
    with _one_sentence():
        rls.enable(database, role)
    click.echo(f"Row security holds {role}. Now let DATABASE_URL name that role, and set LEADS_RLS=1.")


@row_security.command()
def disable():
    """Undo it; what the role was granted stays."""
    with _one_sentence():
        click.echo("Row security is off." if rls.disable(database) else "Nothing to do.")
