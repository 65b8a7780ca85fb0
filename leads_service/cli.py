"""The operator's commands: flask leads …"""

import contextlib
from pathlib import Path

import click
from flask import current_app
from flask.cli import AppGroup
from peewee import PeeweeException
from playhouse.migrations import MigrationError

from leads_service import migrator
from leads_service.db import database
from leads_service.errors import driver_message
from leads_service.schemas import LeadBody
from leads_service.transfer.importing import SourceError, import_leads

leads = AppGroup("leads", help="Operate the leads service.")


@contextlib.contextmanager
def _one_sentence():
    """What an operator can act on becomes one sentence and exit status 1."""
    try:
        yield
    except (MigrationError, SourceError) as error:
        raise click.ClickException(str(error)) from error
    except PeeweeException as error:
        raise click.ClickException(f"The database refused: {driver_message(error)}.") from error


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


@leads.command("import")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(source):
    """Load the leads of SOURCE, a CSV file whose header names columns of leads."""
    def reject(line, messages):
        for field, found in messages.items():
            click.echo(f"line {line}: {field}: {' '.join(map(str, found))}", err=True)

    rules = LeadBody(current_app.extensions["leads_settings"].phone_prefix)
    with _one_sentence():
        report = import_leads(database, source, rules, reject)
    click.echo(f"{report.created} created, {report.skipped} skipped, {report.rejected} rejected")
    if report.rejected:
        raise SystemExit(1)
