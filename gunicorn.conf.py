"""gunicorn's settings; it finds this file by itself. `gunicorn -b ADDRESS` and its other options win."""

import atexit
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gunicorn.glogging import Logger


def _load(path):
    """A module of the package, by its file: gunicorn's own process keeps none of them, so that HUP brings new code."""
    spec = importlib.util.spec_from_file_location(path, Path(__file__).with_name("leads_service") / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_config, _embedded, _logs, _networks = map(
    _load, ("config.py", "database/embedded.py", "web/logs.py", "access/networks.py"))
try:
    _settings = _config.load()
except _config.SettingsError as error:
    sys.exit(str(error))

# Where the workers write their counts for each other, a new one for each start but not for HUP, which reads this file
# again. prometheus_client wants it made and named before it is loaded.
_OWN = f"leads-metrics-{os.getpid()}-"
if _OWN not in os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""):
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_OWN)
    # Workers, which are forks, come by here too when they end.
    atexit.register(lambda owner, directory: os.getpid() == owner and shutil.rmtree(directory, True),
                    os.getpid(), os.environ["PROMETHEUS_MULTIPROC_DIR"])
from prometheus_client.multiprocess import mark_process_dead  # noqa: E402

wsgi_app = "wsgi:app"
bind = _settings.bind
workers = _settings.workers
threads = _settings.threads  # one: gunicorn's sync worker; more: its gthread
# Longer than nginx keeps an idle connection to us, or it would send a request into one that we are closing.
keepalive = 75
# A search term of 255 characters, percent-encoded, and a cursor fit.
limit_request_line = 8190
control_socket_disable = True
# Whatever a client says of its scheme and path; gunicorn would believe it from this machine and from a unix socket.
# LEADS_TRUSTED_PROXIES says whom to believe.
secure_scheme_headers = {}
forwarder_headers = ""
_formatter = _logs.configure(_settings.log_format)


class logger_class(Logger):
    """gunicorn's own log in the same form. Not by its logconfig_dict: that turns the access log on, search terms and
    all."""

    def setup(self, cfg):
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(_formatter)


def _refuse_strangers(addresses):
    found = not _settings.auth and not _settings.allow_open and _networks.open_address(addresses)
    if found:
        sys.exit(f"LEADS_AUTH is none, so whoever reaches {found} could read and change every lead: "
                 "set LEADS_AUTH, bind 127.0.0.1 or a unix socket, or set LEADS_ALLOW_OPEN=1.")


def on_starting(server):
    """Before any worker: the embedded database, up and migrated."""
    _refuse_strangers(server.cfg.address)
    if not _settings.database_url:
        try:
            _embedded.start(_settings.data_dir)
        except _embedded.EmbeddedError as error:
            sys.exit(str(error))
        if failed := subprocess.run([sys.executable, "-m", "flask", "leads", "migrate"]).returncode:
            sys.exit(failed)


def child_exit(server, worker):
    """A worker is gone, killed perhaps: what it counted stays, what it held is free."""
    mark_process_dead(worker.pid)


def when_ready(server):
    """Where it listens, where the data is, where to go next."""
    _refuse_strangers(listener.sock.getsockname() for listener in server.LISTENERS)  # systemd's sockets too
    say, address = server.log.info, str(server.LISTENERS[0])
    say("leads_service %s answers at %s", _config.VERSION, address)
    say("Data: %s", "the database of DATABASE_URL" if _settings.database_url else
        f"{_settings.data_dir} (a PostgreSQL of its own; set DATABASE_URL to use another)")
    say("Next: %s/docs", address)
