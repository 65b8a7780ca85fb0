"""A real PgBouncer with deploy/pgbouncer.ini."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from psycopg2.extensions import parse_dsn

from real.service import deployed, free_port, until

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")


@contextlib.contextmanager
def pgbouncer(folder, url, connections, statement_timeout=15):
    """A PgBouncer on `connections` to the database of `url`, its files in `folder`; yields the URL through it.

    It ends a statement after `statement_timeout` seconds. The database `bare` of its URL is without connect_query.
    """
    port = free_port()
    target = " ".join(f"{name}='{value}'" for name, value in ({"port": 5432} | parse_dsn(url)).items() if value)
    (folder / "userlist.txt").write_text('"leads" "s3cret"\n')
    (folder / "pgbouncer.ini").write_text(deployed("pgbouncer.ini", {
        "leads = host=127.0.0.1 port=5432 dbname=leads": f"bare = {target}\nleads = {target}",
        "statement_timeout = 15000": f"statement_timeout = {statement_timeout * 1000}",
        "listen_port = 6432": f"listen_port = {port}", "/etc/pgbouncer/": f"{folder}/",
        "default_pool_size = 20": f"default_pool_size = {connections}",
        "logfile = ": ";", "pidfile = ": "unix_socket_dir =\n;",
    }))
    # It refuses to run as root, and reads its files before it becomes somebody else: who may use PostgreSQL's socket.
    sockets = Path(parse_dsn(url).get("host", ""))
    as_user = ["-u", sockets.owner() if sockets.is_dir() else "nobody"] if os.geteuid() == 0 else []
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([PGBOUNCER, *as_user, folder / "pgbouncer.ini"], stdout=log, stderr=log)
    try:
        until(lambda: b"process up" in (folder / "log").read_bytes() or process.poll())
        assert process.poll() is None, (folder / "log").read_text()
        yield f"postgresql://leads:s3cret@127.0.0.1:{port}/leads"
    finally:
        process.terminate()
        process.wait(10)
