"""Two sides: the old primary goes on alone, with a client beside it. What is that client told, and is it true?"""

import contextlib
import json
import signal
from concurrent.futures import ThreadPoolExecutor

from bench.cluster.machines import VENV, until

SECONDS = 45
# Writes on its own machine's PgBouncer, one after the other; prints what it was told.
_CLIENT = """
import json, sys, time, psycopg2
told = {"acknowledged": [], "refused": {}}
until = time.time() + float(sys.argv[2])
connection = None
while time.time() < until:
    try:
        connection = connection or psycopg2.connect(sys.argv[1], connect_timeout=2)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("INSERT INTO leads (name, city) VALUES ('Beside', '1') RETURNING id::text")
        told["acknowledged"].append((time.time(), cursor.fetchone()[0]))
        time.sleep(0.05)
    except psycopg2.Error as error:
        said = str(error).strip().splitlines()[0][-70:]
        told["refused"][said] = told["refused"].get(said, 0) + 1
        connection = None
        time.sleep(0.2)
print(json.dumps(told))
"""


@contextlib.contextmanager
def cut(cluster, name):
    """its network cut"""
    cluster[name].cut()
    yield
    cluster[name].mend()


@contextlib.contextmanager
def patroni_killed(cluster, name):
    """its Patroni killed (SIGKILL), while PostgreSQL lives on, without a watchdog"""
    cluster[name].stop("patroni", signal.SIGKILL)
    yield
    cluster[name].start("patroni")


def run(cluster, way):
    """One split; prints what the client beside the old primary was told and what of it is true afterwards. Gives how
    many of the writes that it was acknowledged are gone."""
    old = cluster.primary()
    url = f"postgresql://leads:{cluster.password}@127.0.0.1:6432/leads"
    with ThreadPoolExecutor() as beside:
        client = beside.submit(cluster[old].run, VENV / "bin/python", "-c", _CLIENT, url, SECONDS)
        until(lambda: cluster.psql(old, "\\c leads", "SELECT 1 FROM leads WHERE name = 'Beside' LIMIT 1"), "a write")
        [when] = cluster.psql(old, "SELECT extract(epoch FROM now())").split()
        with way(cluster, old):
            new = until(lambda: (found := cluster.primary()) != old and found, "another primary")
            [promoted] = cluster.psql(new, "SELECT extract(epoch FROM now())").split()
            told = json.loads(client.result())
    until(cluster.whole, "a whole cluster", 180)
    there = set(cluster.psql(cluster.primary(), "\\c leads", "SELECT id FROM leads WHERE name = 'Beside'").split())
    since = [(at, lead) for at, lead in told["acknowledged"] if at > float(when)]
    gone = [(at, lead) for at, lead in told["acknowledged"] if lead not in there]
    print(f"    {'synchronous' if cluster.synchronous else 'asynchronous'}; {way.__doc__}: "
          f"another primary after {float(promoted) - float(when):.1f} s")
    print(f"    the client beside it: {len(since)} writes acknowledged since"
          + (f", the last {max(at for at, _ in since) - float(when):.1f} s after it" if since else "")
          + f"; {len(gone)} of all its {len(told['acknowledged'])} are gone; refused: {told['refused']}", flush=True)
    return len(gone)
