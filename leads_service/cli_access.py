"""The operator's commands about who may come in: flask leads key …, flask leads rls …"""

import click
from flask.cli import AppGroup
from peewee import IntegrityError

from leads_service.access import keys
from leads_service.access import row_security as rls
from leads_service.access.callers import ROLE_NAMES
from leads_service.cli_errors import one_sentence
from leads_service.database.acting import IMPORT, OPERATOR
from leads_service.database.failures import database_problem
from leads_service.database.pool import database


@click.group(cls=AppGroup)
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
    with one_sentence():
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
    with one_sentence():
        for each in keys.listed(database):
            state = f"revoked {each.revoked_at:%Y-%m-%d %H:%M:%S}" if each.revoked_at else "valid"
            click.echo(f"{each.name}  {each.role}  {each.company_id or 'every company'}  …{each.ending}  "
                       f"created {each.created_at:%Y-%m-%d %H:%M:%S}  {state}")


@key.command()
@click.argument("name")
def revoke(name):
    """Revoke the key called NAME. The service stops taking it within 30 seconds."""
    with one_sentence():
        if not keys.revoke(database, name):
            raise click.ClickException(f"There is no key called {name}.")
    click.echo(f"Revoked {name}.")


@click.group("rls", cls=AppGroup)
def row_security():
    """Row security: PostgreSQL itself keeps the service to the leads of the caller (LEADS_RLS=1)."""


@row_security.command()
@click.argument("role")
def enable(role):
    """Keep the PostgreSQL role ROLE, as which the service is to connect, to the leads of the caller.

    Run it as the owner of the table leads. ROLE exists, is no superuser, has no BYPASSRLS and owns nothing here; it is
    granted what the service needs. Other roles see what they saw before.
    """
    with one_sentence():
        rls.enable(database, role)
    click.echo(f"Row security holds {role}. Now let DATABASE_URL name that role, and set LEADS_RLS=1.")


@row_security.command()
def disable():
    """Undo it; what the role was granted stays."""
    with one_sentence():
        click.echo("Row security is off." if rls.disable(database) else "Nothing to do.")
