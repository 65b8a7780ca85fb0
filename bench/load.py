"""A service on a filled database, and wrk or one caller that asks it. run.py measures with it."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import psutil
import psycopg2

from bench import fill
from leads_service.database import migrator
from leads_service.database.pool import Database
from real.nginx import nginx
from real.postgres import indexes_afterwards, sql

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 8


def database_of(server, rows, valued=False):
    """The URL of a migrated database with `rows` leads, all of them with a value and a next step if `valued`; made if
    it is not there."""
    name = f"leads_{rows}{'_valued' if valued else ''}"
    url = urllib.parse.urlsplit(server)._replace(path=f"/{name}").geturl()
    made = sql(server, "SELECT 1 FROM pg_database WHERE datname = %s", name)
    if not made:
        sql(server, f"CREATE DATABASE {name}")
    own = Database(None)
    own.configure(url, connections=1, recycle=86400, statement_timeout=0)
    list(migrator.up(own))
    own.close_all()
    if not made:
        with indexes_afterwards(url):
            for first in range(1, rows + 1, 50_000):
                sql(url, fill.statement(first, min(first + 49_999, rows), valued))
    tidy(url)
    return url


def tidy(url):
    """Take away what a measurement has written."""
    sql(url, "DELETE FROM leads WHERE source IN ('charge', 'fichier')")
    sql(url, "VACUUM ANALYZE leads")


def counting(url):
    """The ms that `SELECT count(*)` takes."""
    with contextlib.closing(psycopg2.connect(url)) as connection:
        cursor, times = connection.cursor(), []
        for _ in range(7):
            start = time.perf_counter()
            cursor.execute("SELECT count(*) FROM leads")
            times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def postmaster_of(url):
    """The process of the PostgreSQL behind `url`."""
    with contextlib.closing(psycopg2.connect(url)) as connection:
        return psutil.Process(connection.get_backend_pid()).parent()


@contextlib.contextmanager
def served(url, *options, behind_nginx=True, **environ):
    """The service on the database, on a unix socket behind an nginx as deploy/ has them, or gunicorn straight; yields
    (gunicorn's process, address), an address being host:port and, of nginx, what its paths begin with."""
    with contextlib.ExitStack() as scope:
        folder = Path(scope.enter_context(tempfile.TemporaryDirectory()))
        unix = f"unix:{folder}/leads.sock"
        process, address = scope.enter_context(_gunicorn(url, "-b", unix, *options, **environ))
        if behind_nginx:
            address = f"{scope.enter_context(nginx(folder, unix)).address}/api"
        yield process, address


@contextlib.contextmanager
def _gunicorn(url, *options, **environ):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    process = psutil.Popen([sys.executable, "-m", "gunicorn", "-b", address, *options], cwd=ROOT,
                           env={**os.environ, "DATABASE_URL": url, **environ},
                           stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        while True:
            with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection(address)) as connection:
                connection.request("GET", "/health/ready")
                if connection.getresponse().status == 200:
                    break
            if process.poll() is not None:
                sys.exit("gunicorn did not start")
            time.sleep(0.1)
        yield process, address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def cpu_seconds(*trees):
    """The processor time that these processes and their children have used."""
    total = 0
    for tree in trees:
        for process in (tree, *tree.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
    return total


_LUA = """
local paths, n, salt = {}, 0, "%(salt)s"
for line in io.lines("%(paths)s") do paths[#paths + 1] = line end
math.randomseed(os.time())
function request()
  n = n + 1
  local path = paths[math.random(#paths)]
  local headers = { ["Content-Type"] = "application/json", ["Authorization"] = "%(credential)s" }
  if "%(cookie)s" ~= "" then headers["Cookie"] = "%(cookie)s" end
  if "%(method)s" == "GET" then return wrk.format("GET", path, headers) end
  local body = string.format('{"city":"Aubagne %%s %%d"}', salt, n)
  if "%(method)s" == "POST" then
    body = string.format('{"name":"Lead %%d","email":"charge.%%s.%%d@exemple.fr","phone":"06 12 34 56 78",' ..
                         '"source":"charge","tags":["vip"]}', n, salt, n)
  end
  return wrk.format("%(method)s", path, headers, body)
end
"""


def load(address, method, paths, seconds, folder, credential="", cookie=""):
    """Ask without pause on CONNECTIONS connections: (requests, requests a second, p50 and p99 in ms, refused)."""
    listed, script = folder / "paths", folder / "wrk.lua"
    host, slash, prefix = address.partition("/")
    listed.write_text("".join(f"{slash}{prefix}{path}\n" for path in paths))
    script.write_text(_LUA % {"salt": os.urandom(4).hex(), "paths": listed, "method": method,
                              "credential": credential, "cookie": cookie})
    out = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script,
                          f"http://{host}"], check=True, text=True, capture_output=True).stdout
    found = {percent: float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]
             for percent, value, unit in re.findall(r"(\d\d)%\s+([\d.]+)(us|ms|s)\b", out)}
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return (int(re.search(r"(\d+) requests in", out)[1]), float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),
            found["50"], found["99"], int(refused[1]) if refused else 0)


def routes(url):
    """Name of a route → method and paths."""
    leads = [f"/leads/{row[0]}" for row in sql(url, "SELECT id FROM leads TABLESAMPLE SYSTEM (20) LIMIT 2000")]
    owner = urllib.parse.quote(fill.OWNER)
    terms = ("vasseur", "garage", "0612", "elise", "xqzw", "exemple.fr")
    return {"one": ("GET", leads), "list20": ("GET", ["/leads/?limit=20"]), "list100": ("GET", ["/leads/?limit=100"]),
            "owner20": ("GET", [f"/leads/owner/{owner}?limit=20", "/leads/owner/personne?limit=20"]),
            "search20": ("GET", [f"/leads/search/{term}?limit=20" for term in terms]),
            "create": ("POST", ["/leads/"]), "update": ("PUT", leads)}


class Asker:
    """One caller on one connection."""

    def __init__(self, address):
        host, slash, prefix = address.partition("/")
        self._connection, self._prefix = http.client.HTTPConnection(host), slash + prefix

    def ask(self, path, method="GET", body=None, headers=None):
        """(milliseconds, the answer's JSON)."""
        start = time.perf_counter()
        self._connection.request(method, self._prefix + path, body, headers or {})
        response = self._connection.getresponse()
        raw = response.read()
        spent = 1e3 * (time.perf_counter() - start)
        if response.status >= 300:
            sys.exit(f"{method} {path}: {response.status} {raw[:300]}")
        return spent, json.loads(raw)

    def median(self, path, times=3):
        """The milliseconds that the path takes, of so many times."""
        return statistics.median(self.ask(path)[0] for _ in range(times))
