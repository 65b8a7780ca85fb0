"""Python's programs as forks of one process that has loaded what they load, and done nothing yet.

Loading it takes several times as long as most of them run.
"""

import atexit
import contextlib
import multiprocessing
import os
import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.real.loaded"])  # it has no path but the root, and passes over what it misses
# What a server decides when it loads them: prometheus_client, where it counts; the others, who counts: not contract/.
_ANEW = re.compile(r"(leads_service|prometheus_client)\b(?!\.contract\b)")


class Fork(_FORKS.Process):
    """`python -m module` in a session of its own, with these `arguments` and surroundings, writing to the files `out`
    and `err`; what a subprocess.Popen can do, as far as it is used."""

    def __init__(self, module, arguments, environ, out, err):
        super().__init__(target=_run, daemon=True, args=(
            module, [*map(str, arguments)], {name: str(value) for name, value in environ.items()}, str(out), str(err)))
        self._out = Path(out)
        self.start()

    @property
    def returncode(self):
        """The exit status; None while it runs."""
        return self.exitcode

    def poll(self):
        """The exit status; None while it runs."""
        return self.exitcode

    def wait(self, timeout=None):
        """The exit status, once it has ended. Raises subprocess.TimeoutExpired."""
        self.join(timeout)
        if self.exitcode is None:
            raise subprocess.TimeoutExpired(self.name, timeout)
        return self.exitcode

    def lines(self):
        """The lines that it has written to `out` so far."""
        return self._out.read_text().splitlines()

    def said(self, seconds=30):
        """What it has written to `out`, once it has ended. Raises subprocess.TimeoutExpired."""
        self.wait(seconds)
        return self._out.read_text()

    def send_signal(self, number):
        """Send it a signal."""
        os.kill(self.pid, number)


@contextlib.contextmanager
def under_way(module, *arguments, **environ):
    """`python -m module` with these arguments, which writes to one file; yields the Fork. Killed if it is still there
    afterwards."""
    with tempfile.NamedTemporaryFile() as out:
        process = Fork(module, arguments, os.environ | environ, out.name, out.name)
        try:
            yield process
        finally:
            process.kill()
            process.join()


def _run(module, arguments, environ, out, err):
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environ)
    for stream, path in ((sys.stdout, out), (sys.stderr, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), stream.fileno())
    if module == "gunicorn":
        for name in filter(_ANEW.match, list(sys.modules)):
            del sys.modules[name]
    sys.argv[1:] = arguments
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # which a fork leaves out: the embedded server would stay
