"""gunicorn's settings; it finds this file by itself. `gunicorn -b ADDRESS` and its other options win."""

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path


def _load(path):
    """A module by its file: gunicorn's first process imports nothing of the package, so that HUP, for which it reads
    this file again and forks new workers, brings new code whole."""
    spec = importlib.util.spec_from_file_location(path, Path(__file__).with_name("leads_service") / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_config, _embedded, _networks, _logs, _metrics, _worker = map(_load, (
    "config.py", "database/embedded.py", "access/networks.py", "web/process/logs.py", "web/process/metrics_files.py",
    "web/process/worker.py"))
try:
    _settings = _config.load()
except _config.SettingsError as error:
    sys.exit(str(error))
_logs.configure(_settings.log_format)
_metrics.prepare()
from prometheus_client.multiprocess import mark_process_dead  # noqa: E402

wsgi_app = "wsgi:app"
bind = _settings.bind
workers = _settings.workers
threads = _settings.threads
worker_class = _worker.Worker
logger_class = _logs.GunicornLogger
keepalive = 75  # seconds, more than nginx keeps an idle connection: it must not send into one that we are closing
limit_request_line = 8190  # a search term of 255 characters, percent-encoded, and a cursor fit
control_socket_disable = True
# gunicorn would believe what a client on this machine says of its scheme and path; see LEADS_TRUSTED_PROXIES.
secure_scheme_headers, forwarder_headers = {}, ""


def _refuse_strangers(addresses):
    if not _settings.auth and not _settings.allow_open and (found := _networks.open_address(addresses)):
        sys.exit(f"LEADS_AUTH is none, so whoever reaches {found} could read and change every lead: "
                 "set LEADS_AUTH, bind 127.0.0.1 or a unix socket, or set LEADS_ALLOW_OPEN=1.")


def on_starting(server):
    """Before any worker: the embedded database, up and migrated."""
    _refuse_strangers(server.cfg.address)
    if too_long := [path for path in server.cfg.address if isinstance(path, str) and _config.is_too_long(path)]:
        sys.exit(f"A unix socket's path has room for {_config.LONGEST_UNIX_ADDRESS} bytes: {too_long[0]} is longer.")
    if not _settings.database_url:
        try:
            _embedded.start(_settings.data_dir)
        except _embedded.EmbeddedError as error:
            sys.exit(str(error))
        if failed := subprocess.run([sys.executable, "-m", "flask", "leads", "migrate"]).returncode:
            sys.exit(failed)


def when_ready(server):
    """Where it listens, where the data is, where to go next."""
    _refuse_strangers(listener.sock.getsockname() for listener in server.LISTENERS)  # systemd's sockets too
    say = server.log.info
    say("leads_service %s answers at %s", _config.VERSION, ", ".join(map(str, server.LISTENERS)))
    say("Data: %s", "the database of DATABASE_URL" if _settings.database_url else
        f"{_settings.data_dir} (a PostgreSQL of its own; set DATABASE_URL to use another)")
    for listener in server.LISTENERS:
        if listener.sock.family != socket.AF_UNIX:
            say("Next: %s/docs", listener)
            # A connection on which nothing is said yet, such as a browser's spare one, takes none of our threads.
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)


def child_exit(server, worker):
    """A worker is gone, killed perhaps: what it counted stays, what it held is free."""
    mark_process_dead(worker.pid)
