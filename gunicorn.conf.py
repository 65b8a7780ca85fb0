"""gunicorn's settings; it finds this file by itself. `gunicorn -b ADDRESS` and its other options win."""

import logging.config
import sys

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from leads_service import embedded, migrator
from leads_service.config import VERSION, SettingsError, load
from leads_service.db import Database

try:
    settings = load()
except SettingsError as error:
    sys.exit(str(error))

wsgi_app = "wsgi:app"
bind = settings.bind
workers = settings.workers
threads = settings.threads
# Longer than nginx keeps an idle connection to us, or it would send a request into one that we are closing.
keepalive = 75
# A search term of 255 characters, percent-encoded, and a cursor fit.
limit_request_line = 8190
control_socket_disable = True

_FORMATTERS = {
    "text": {"format": "%(asctime)s [%(process)d] %(levelname)s %(message)s"},
    "json": {"()": "pythonjsonlogger.json.JsonFormatter",
             "fmt": "%(asctime)s %(levelname)s %(name)s %(process)d %(message)s"},
}
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"chosen": _FORMATTERS[settings.log_format]},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "chosen"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
})


class logger_class(Logger):
    """gunicorn's own log in the same format. Not by its logconfig_dict: that turns the access log on, search terms
    and all."""

    def setup(self, cfg):
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logging.getLogger().handlers[0].formatter)


class worker_class(ThreadWorker):
    """gunicorn's gthread, which ends at once when it is told to."""

    def handle_quit(self, sig, frame):
        # gthread's own would shut its pool down and exit right here, in the signal handler: a wait without end for a
        # lock, or a stack in the log, when the signal came while a request was being put into the pool.
        self.handle_exit(sig, frame)

    def murder_keepalived(self):
        # Nor is a connection that nobody uses worth waiting for, on the way out; gthread's own waits 30 s.
        if not self.alive:
            for connection in (*self.keepalived_conns, *self.pending_conns):
                connection.timeout = 0
        super().murder_keepalived()


def on_starting(server):
    """Before any worker: the embedded database, up and migrated."""
    if settings.database_url:
        return
    try:
        own = Database(None)
        own.configure(embedded.start(settings.data_dir), connections=1, recycle=3600, statement_timeout=0)
        for name in migrator.up(own):
            server.log.info("Applied migration %s", name)
        own.close_all()
    except (embedded.EmbeddedError, migrator.MigrationError) as error:
        sys.exit(str(error))


def when_ready(server):
    """Where it listens, where the data is, where to go next."""
    address = str(server.LISTENERS[0])
    say = server.log.info
    say("leads_service %s answers at %s", VERSION, address)
    say("Data: %s", "the database of DATABASE_URL" if settings.database_url else
        f"{settings.data_dir} (a PostgreSQL of its own; set DATABASE_URL to use another)")
    say("Next: %s/docs", address)
