"""HUP under load brings new code whole, and loses no request."""

import contextlib
import http.client
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from real.client import Caller
from real.service import ROOT, free_port, until, wait_until_up


@pytest.fixture
def checkout(tmp_path):
    """A copy of the code, for a release of its own."""
    for name in ("leads_service", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("gunicorn.conf.py", "wsgi.py"):
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def release(checkout, name, old, new):
    path = checkout / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_reload_under_load_brings_new_code(checkout, db_url, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", db_url)
    monkeypatch.setenv("WEB_CONCURRENCY", "1")  # of two, one may still be reading what is being released
    caller, lost, over = Caller(f"127.0.0.1:{free_port()}"), [], threading.Event()

    def ask_on_and_on():
        with contextlib.closing(http.client.HTTPConnection(caller.address, timeout=30)) as connection:
            while not over.is_set():
                try:
                    connection.request("GET", "/leads/?limit=1")
                    response = connection.getresponse()
                    response.read()
                except (OSError, http.client.HTTPException):
                    # A kept connection that a leaving worker closed; nginx, too, asks again on another.
                    connection.close()
                    if (again := caller.get("/leads/", limit=1).status) != 200:
                        lost.append(again)
                else:
                    if response.status != 200:
                        lost.append(response.status)

    with open(checkout / "log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "gunicorn", "-b", caller.address], cwd=checkout, stdout=log,
                                   stderr=log)
    try:
        wait_until_up(process, caller, checkout / "log")
        threads = [threading.Thread(target=ask_on_and_on) for _ in range(4)]
        for thread in threads:
            thread.start()
        # In a file that gunicorn's first process reads too, one that only the workers do, and one that the other needs.
        release(checkout, "leads_service/config.py", 'VERSION = "', 'ADDED = "with the release"\nVERSION = "9.')
        release(checkout, "leads_service/web/routes/health.py", "import VERSION", "import ADDED, VERSION")
        release(checkout, "leads_service/web/routes/health.py", '"name": "leads_service"', '"name": ADDED')
        process.send_signal(signal.SIGHUP)
        until(lambda: all(caller.get("/").data["name"] == "with the release" for _ in range(20)))
        assert caller.get("/health").json["version"].startswith("9.")
        over.set()
        for thread in threads:
            thread.join()
    finally:
        over.set()
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
    assert not lost
