"""The service as an operator starts it: gunicorn and `flask leads …`."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from real.client import Caller
from real.forks import ROOT, Fork


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


def workers_of(master):
    """The processes of a gunicorn's two workers, as soon as both are there."""
    return until(lambda: both if len(both := psutil.Process(master.pid).children()) == 2 else None)


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
    environ = inherited | {name: str(value) for name, value in environ.items()}
    arguments = ["-b", f"127.0.0.1:{port}", *arguments]
    if "PYTEST_VERSION" in os.environ:
        process = Fork("gunicorn", arguments, environ, log_file, log_file)
    else:  # what is measured has loaded itself
        with open(log_file, "ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "gunicorn", *arguments], cwd=ROOT, stdout=log, stderr=log,
                                       env=environ, start_new_session=True)
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
    """Run `flask leads …` as an operator would, in a process of its own; gives what subprocess.run gives."""
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        status = Fork("flask", ["leads", *arguments], os.environ | environ, out.name, err.name).wait(120)
        return subprocess.CompletedProcess(arguments, status, out.read(), err.read())
