#!/usr/bin/env python3
"""The primary is killed under writers and its standby promoted: how long is the outage, and what is lost?

    .venv/bin/python bench/failover.py [--writers 4] [--behind 0.3]

Two PostgreSQL servers with streaming replication, asynchronous at first, then synchronous, and one service behind
nginx, whose DATABASE_URL names both. The standby's network hangs for the last `--behind` seconds before the kill.
"""

import argparse
import http.client
import itertools
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / place) for place in ("", "tests")]

from leads_service.database import migrator
from real.nginx import behind_nginx
from real.postgres import connected, sql
from real.replication import make_primary, make_standby
from real.service import until


class Ledger:
    """Writers without pause, and what each was answered: (when asked, when answered, status, id)."""

    def __init__(self, address, writers):
        self.entries, self._address, self._over = [], address, threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(writers)]
        for thread in self._threads:
            thread.start()

    def _write(self):
        while not self._over.is_set():
            asked = time.monotonic()
            connection = http.client.HTTPConnection(self._address, timeout=60)
            connection.request("POST", "/api/leads/", '{"name": "Lead"}', {"Content-Type": "application/json"})
            reply = connection.getresponse()
            body = json.loads(reply.read())
            connection.close()
            self.entries.append((asked, time.monotonic(), reply.status, (body["data"] or {}).get("id")))
            if reply.status != 201:
                time.sleep(0.01)

    def close(self):
        """The entries, once every writer has had its last answer."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.entries


def fail_over(folder, synchronous, writers, behind):
    """One run; prints its figures and gives the number of acknowledged leads that are lost."""
    old = make_primary(folder / "primary")
    with connected(old.url) as own:
        list(migrator.up(own))
    new = make_standby(old)
    if synchronous:
        sql(old.url, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        sql(old.url, "SELECT pg_reload_conf()")
        until(lambda: sql(old.url, "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"))
    both = f"postgresql://postgres@/postgres?host={old.pgdata},{new.pgdata}&target_session_attrs=read-write"
    with behind_nginx(folder, DATABASE_URL=both, WEB_CONCURRENCY=2, LEADS_CONNECTIONS=writers) as (process, caller):
        ledger = Ledger(caller.address, writers)
        time.sleep(2)
        new.signal_receiver(signal.SIGSTOP)
        time.sleep(behind)
        killed = time.monotonic()
        old.kill()
        new.signal_receiver(signal.SIGCONT)
        new.promote()
        promoted = time.monotonic()
        time.sleep(3)
        entries = ledger.close()
        if process.poll() is not None:
            sys.exit("gunicorn has ended")
    there = {lead for (lead,) in sql(new.url, "SELECT id::text FROM leads")}
    new.kill()
    acknowledged = [entry for entry in entries if entry[2] == 201]
    answered = sorted(entry[1] for entry in acknowledged)
    outage, resumed = max((after - before, after) for before, after in itertools.pairwise(answered))
    lost = [entry for entry in acknowledged if entry[3] not in there]
    print(f"{'synchronous' if synchronous else 'asynchronous'} replication, {writers} writers, the standby "
          f"{behind} s behind")
    print(f"  answers: {dict(sorted(Counter(status for _, _, status, _ in entries).items()))}; "
          f"the longest took {max(answered - asked for asked, answered, *_ in entries):.2f} s")
    print(f"  from the kill to the standby's promotion {promoted - killed:.2f} s, to the first 201 "
          f"{resumed - killed:.2f} s; no 201 for {outage:.2f} s")
    print(f"  acknowledged: {len(acknowledged)}, of these lost: {len(lost)}"
          + (f", answered in the last {killed - min(entry[1] for entry in lost):.2f} s" if lost else ""))
    return len(lost)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--behind", type=float, default=0.3, metavar="SECONDS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for synchronous in (False, True):
            place = Path(folder) / ("synchronous" if synchronous else "asynchronous")
            os.mkdir(place)
            lost = fail_over(place, synchronous, options.writers, options.behind)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
