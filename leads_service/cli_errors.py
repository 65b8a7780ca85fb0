"""What ends a command, as the one sentence that an operator can act on."""

import contextlib

import click
from marshmallow import ValidationError
from peewee import PeeweeException
from playhouse.migrations import MigrationError

from leads_service.access.row_security import RowSecurityError
from leads_service.contract.problems import Problem, validation_problem
from leads_service.contract.sentences import in_language
from leads_service.database.failures import driver_message
from leads_service.transfer.batches.writing import ConflictError
from leads_service.transfer.exporting import ExportError
from leads_service.transfer.importing import ImportStopped
from leads_service.transfer.sources import SourceError


@contextlib.contextmanager
def one_sentence():
    """What an operator can act on becomes one sentence and exit status 1."""
    try:
        yield
    except (MigrationError, RowSecurityError) as error:
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
    if isinstance(cause, Problem | SourceError):
        return in_language(cause.sentence, "en")
    if isinstance(cause, PeeweeException):
        return f"The database refused: {driver_message(cause)}."
    raise cause
