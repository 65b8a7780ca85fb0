"""A real nginx with deploy/nginx.conf."""

import contextlib
import os
import shutil
import signal
import subprocess
import time

import pytest

from real.client import Caller
from real.service import deployed, free_port, service

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")

# One process, so that it can use the test's folder whoever runs the test.
MAIN = """
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}
"""


@contextlib.contextmanager
def nginx(folder, upstream, changes=None):
    """An nginx with deploy/nginx.conf in front of `upstream` (host:port, or unix:path), its files in `folder`, and
    `changes` {old: new} in its text; yields a Caller."""
    if not NGINX:
        pytest.skip("the nginx program is not installed")
    caller = Caller(f"127.0.0.1:{free_port()}")
    (folder / "site.conf").write_text(deployed("nginx.conf", {
        "listen 80 ": f"listen {caller.address} ", "server unix:/run/leads/leads.sock;": f"server {upstream};",
        "/var/log/nginx/": f"{folder}/", **(changes or {})}))
    (folder / "main.conf").write_text(MAIN)
    errors = folder / "error.log"
    process = subprocess.Popen([NGINX, "-p", folder, "-c", folder / "main.conf", "-e", errors],
                               stderr=subprocess.DEVNULL)
    try:
        wait_until_up(process, caller, errors)
        yield caller
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)


@contextlib.contextmanager
def behind_nginx(folder, *arguments, **environ):
    """A gunicorn on a unix socket in `folder` and an nginx in front of it, as deploy/ has them; yields (gunicorn's
    process, Caller), whose addresses begin with /api."""
    socket = f"unix:{folder}/leads.sock"
    with (service(folder / "log", "-b", socket, *arguments, **environ) as (process, _),
          nginx(folder, socket) as caller):
        yield process, caller


def wait_until_up(process, caller, errors):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            caller.get("/")
            return
        time.sleep(0.02)
    pytest.fail(f"nginx did not come up:\n{errors.read_text()}")
