"""A folder of this run's own for all that its tests start, and none of its shell's settings."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Not pytest's usual folder: another run by root would close it to PostgreSQL's user, whose servers then die.

    It goes with the run; pytest's --basetemp names one that stays. What the shell says to the service, and to libpq, is
    not said to the services of the tests.
    """
    for name in [*os.environ]:
        if name.startswith(("LEADS_", "PG")) or name in ("DATABASE_URL", "WEB_CONCURRENCY"):
            del os.environ[name]
    if not config.option.basetemp and not hasattr(config, "workerinput"):
        config.option.basetemp = folder = tempfile.mkdtemp(prefix="leads-tests-", dir=_in_memory())
        atexit.register(shutil.rmtree, folder, ignore_errors=True)  # when the servers have been stopped, at exit too


def _in_memory():
    """Where there is memory for it, which takes a twentieth off the whole run: 3 GB of databases are written there."""
    shared = Path("/dev/shm")
    if "TMPDIR" not in os.environ and shared.is_dir() and os.access(shared, os.W_OK):
        room = os.statvfs(shared)
        if room.f_bavail * room.f_frsize > 8 * 2**30 and not room.f_flag & os.ST_NOEXEC:
            return shared
    return None
