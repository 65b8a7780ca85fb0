"""The service as an operator starts it: gunicorn and `flask leads …`."""

import atexit
import contextlib
import multiprocessing
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from flask.cli import main

from real.client import Caller

ROOT = Path(__file__).resolve().parent.parent.parent
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["real.service", "leads_service.app"])


def free_port():
    """A port that nobody has; none of those that the system gives to connections, which might take it meanwhile."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", secrets.choice(range(15_000, 32_000))))
            return probe.getsockname()[1]


def until(condition, seconds=20):
    """What `condition()` gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return found


def deployed(name, replacements):
    """The text of deploy/`name` with each old string replaced by the new one; every one must be there."""
    text = (ROOT / "deploy" / name).read_text()
    for old, new in replacements.items():
        assert old in text
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def service(log_file, *arguments, **environ):
    """A gunicorn of its own as an operator starts it; yields (process, Caller)."""
    port = free_port()
    inherited = {name: value for name, value in os.environ.items()
                 if not name.startswith("LEADS_") and name not in ("DATABASE_URL", "WEB_CONCURRENCY")}
    with open(log_file, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", *arguments], cwd=ROOT, stdout=log, stderr=log,
            env=inherited | {name: str(value) for name, value in environ.items()}, start_new_session=True)
    caller = Caller(f"127.0.0.1:{port}")
    try:
        wait_until_up(process, caller, log_file)
        yield process, caller
    finally:
        process.terminate()
        process.wait(40)  # gunicorn gives its workers 30


def wait_until_up(process, caller, log_file):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if caller.get("/health").status == 200:
                return
        time.sleep(0.05)
    pytest.fail(f"the service did not come up:\n{Path(log_file).read_text()}")


def flask(*arguments, **environ):
    """Run `flask leads …` as an operator would, in a process of its own; gives what subprocess.run gives.

    The processes are forks of one that has loaded the application and done nothing yet: loading it takes several times
    as long as most commands.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LEADS_")}
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        given = inherited | {name: str(value) for name, value in environ.items()}
        process = _FORKS.Process(target=_command, args=([*map(str, arguments)], given, out.name, err.name))
        process.start()
        process.join(120)
        assert process.exitcode is not None, f"flask leads {arguments} has not ended"
        return subprocess.CompletedProcess(arguments, process.exitcode, out.read(), err.read())


def _command(arguments, environ, out, err):
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environ)
    for stream, path in ((sys.stdout, out), (sys.stderr, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), stream.fileno())
    sys.argv = ["flask", "leads", *arguments]
    try:
        main()
    finally:
        atexit._run_exitfuncs()  # which a fork leaves out: the embedded server would stay
