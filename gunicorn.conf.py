"""gunicorn's settings; it finds this file by itself. `gunicorn -b ADDRESS` and its other options win."""

import atexit
import ipaddress
import logging.config
import os
import shutil
import socket
import sys
import tempfile

from gunicorn.glogging import Logger


def _make_metrics_directory():
    """Where the workers write their counts for each other, a new one for each start but not for HUP, which reads this
    file again. prometheus_client wants it made and named before it is loaded."""
    own = f"leads-metrics-{os.getpid()}-"
    if own not in os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""):
        directory = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=own)
        # Workers, which are forks, come by here too when they end.
        atexit.register(lambda owner: os.getpid() == owner and shutil.rmtree(directory, True), os.getpid())


_make_metrics_directory()
try:
    from prometheus_client.multiprocess import mark_process_dead

    from leads_service import embedded, migrator
    from leads_service.config import VERSION, SettingsError, load
    from leads_service.db import Database
    from leads_service.worker import Worker
except ModuleNotFoundError:
    # gunicorn reads this file for whatever is started in this directory, another application in an environment of its
    # own included. Ours goes on to wsgi.py, which says what is missing.
    settings = None
else:
    try:
        settings = load()
    except SettingsError as error:
        sys.exit(str(error))
    # Forgotten again, so that workers import them themselves: HUP brings new code, the libraries are loaded once.
    for name in [name for name in sys.modules if name.partition(".")[0] in ("leads_service", "migrations")]:
        del sys.modules[name]

if settings:
    wsgi_app = "wsgi:app"
    bind = settings.bind
    workers = settings.workers
    threads = settings.threads
    worker_class = Worker
    Worker.max_body = settings.max_body
    Worker.max_held = max(Worker.max_held, 2 * settings.max_body)
# Longer than nginx keeps an idle connection to us, or it would send a request into one that we are closing.
keepalive = 75
# A search term of 255 characters, percent-encoded, and a cursor fit.
limit_request_line = 8190
control_socket_disable = True
# Whatever a client says of its scheme and path; gunicorn would believe it from this machine and from a unix socket.
# LEADS_TRUSTED_PROXIES says whom to believe.
secure_scheme_headers = {}
forwarder_headers = ""


class _Text(logging.Formatter):
    """A line, ended by the request that it was written in."""

    def formatMessage(self, record):
        line = super().formatMessage(record)
        return f"{line} [{record.request_id} {record.route}]" if hasattr(record, "request_id") else line


_FORMATTERS = {
    "text": {"()": _Text, "fmt": "%(asctime)s [%(process)d] %(levelname)s %(message)s"},
    "json": {"()": "pythonjsonlogger.json.JsonFormatter",
             "fmt": "%(asctime)s %(levelname)s %(name)s %(process)d %(message)s"},
}
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"chosen": _FORMATTERS[settings.log_format if settings else "text"]},
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


def _refuse_strangers(addresses):
    """End here when an address of `addresses`, as sockets have them, can be reached from another machine and nobody
    would be asked who they are."""
    if settings is None or settings.auth or settings.allow_open:
        return
    for address in addresses:
        if not isinstance(address, tuple):
            continue  # a unix socket's path, or a descriptor, which when_ready() judges once it is a socket
        host, port = address[:2]
        try:
            found = {info[4][0] for info in socket.getaddrinfo(host or "::", port, type=socket.SOCK_STREAM)}
        except socket.gaierror:
            continue  # gunicorn cannot bind it either, and says so
        if not all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in found):
            sys.exit(f"LEADS_AUTH is none, so whoever reaches {host}:{port} could read and change every "
                     "lead: set LEADS_AUTH, bind 127.0.0.1 or a unix socket, or set LEADS_ALLOW_OPEN=1.")


def on_starting(server):
    """Before any worker: the embedded database, up and migrated."""
    _refuse_strangers(server.cfg.address)
    if settings is None or settings.database_url:
        return
    try:
        own = Database(None)
        own.configure(embedded.start(settings.data_dir), connections=1, recycle=3600, statement_timeout=0)
        for name in migrator.up(own):
            server.log.info("Applied migration %s", name)
        own.close_all()
    except (embedded.EmbeddedError, migrator.MigrationError) as error:
        sys.exit(str(error))


def worker_exit(server, worker):
    """Its last requests count too."""
    if settings and isinstance(worker, Worker) and worker.metrics:
        worker.metrics.settle()


def child_exit(server, worker):
    """A worker is gone, killed perhaps: what it counted stays, what it held is free."""
    if settings:
        mark_process_dead(worker.pid)
        if isinstance(worker, Worker):
            worker.forget()


def when_ready(server):
    """Where it listens, where the data is, where to go next."""
    if settings is None:
        return
    _refuse_strangers(listener.sock.getsockname() for listener in server.LISTENERS)  # systemd's sockets too
    address = str(server.LISTENERS[0])
    say = server.log.info
    say("leads_service %s answers at %s", VERSION, address)
    say("Data: %s", "the database of DATABASE_URL" if settings.database_url else
        f"{settings.data_dir} (a PostgreSQL of its own; set DATABASE_URL to use another)")
    say("Next: %s/docs", address)
