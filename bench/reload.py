"""HUP and TERM under load: no request is lost.

    .venv/bin/python bench/reload.py [--seconds 30] [--clients 12]

Clients that keep their connections create, read, list and change leads without pause behind an nginx with
deploy/nginx.conf, while gunicorn is HUPed every two seconds, and stopped by TERM at the end. Like nginx and browsers, a
client whose kept connection ends before an answer repeats what may be repeated (GET, PUT) once on a new connection;
that is counted, and so is everything that did not get its answer. From TERM on, a refused connection and nginx's 503
about it are no loss: nobody took the request. Prints the figures; exit status 1 when a request was lost or a row is not
what was answered.
"""

import argparse
import collections
import json
import signal
import sys
import threading
import time
import uuid

from clients import CutError, KeptAlive, percentile, postgres
from real.nginx import behind_nginx
from real.postgres import sql


class Load:
    """Clients at `address` until told to stop."""

    def __init__(self, address, clients):
        self.answers = collections.Counter()
        self.lost, self.repeated, self.seconds, self.created = [], 0, [], set()
        self.stopping = threading.Event()  # the service may refuse connections
        self._address = address
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def end(self):
        self._over.set()
        self.join()

    def join(self):
        for thread in self._threads:
            thread.join(90)

    def _run(self, number):
        client = KeptAlive(self._address)
        lead, count = None, 0
        while not self._over.is_set():
            count += 1
            if lead is None or count % 4 == 0:
                new = str(uuid.uuid4())
                status = self._ask(client, "POST", "/leads/", {"id": new, "name": f"Lead {number}"})
                if status == 201:
                    self.created.add(new)
                    lead = new
            elif count % 4 == 1:
                status = self._ask(client, "PUT", f"/leads/{lead}", {"city": str(count)})
            elif count % 4 == 2:
                status = self._ask(client, "GET", f"/leads/{lead}")
            else:
                status = self._ask(client, "GET", "/leads/?limit=3")
            if status is None:
                return

    def _ask(self, client, method, path, body=None):
        for repeated in (False, True):
            begun = time.monotonic()
            try:
                status, _, raw = client.ask(method, path, body)
            except ConnectionRefusedError:
                if not self.stopping.is_set():
                    self.lost.append(f"{method} refused")
                return None
            except CutError as error:
                if repeated or not error.reused or method == "POST":
                    self.lost.append(f"{method} {error}{' on a kept connection' if error.reused else ''}")
                    return 0
                self.repeated += 1
                continue
            self.seconds.append(time.monotonic() - begun)
            self.answers[status] += 1
            if status == 503 and self.stopping.is_set():
                return None
            if status not in (200, 201):
                self.lost.append(f"{method} {status} {json.loads(raw)['code']}")
            return status
        return 0


def run(load, process, seconds, url, hups_every=2.0):
    """Load through HUPs and one TERM; prints a line and tells whether nothing was lost."""
    time.sleep(2)
    hups, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        process.send_signal(signal.SIGHUP)
        hups += 1
        time.sleep(hups_every)
    by_hup = len(load.lost)
    load.stopping.set()
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    process.wait(60)
    took = time.monotonic() - begun
    load.join()
    there = {lead for (lead,) in sql(url, "SELECT id::text FROM leads")}
    extra = there - load.created
    missing = load.created - there
    print(f"{sum(load.answers.values())} answers {dict(load.answers)}, {hups} HUPs lost {by_hup}, TERM lost "
          f"{len(load.lost) - by_hup} (stopped after {took:.1f} s), repeated {load.repeated}, acknowledged but missing "
          f"{len(missing)}, there but not acknowledged {len(extra)}, "
          f"p50 {percentile(load.seconds, 50) * 1e3:.1f} ms, p99 {percentile(load.seconds, 99) * 1e3:.0f} ms, "
          f"slowest {max(load.seconds):.2f} s", flush=True)
    for what, times in collections.Counter(load.lost).most_common(8):
        print(f"    {times} × {what}")
    return not load.lost and not missing and not extra


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--clients", type=int, default=12)
    options = parser.parse_args()
    with postgres() as (server, folder):
        with behind_nginx(folder, DATABASE_URL=server.url, WEB_CONCURRENCY=2) as (process, caller):
            right = run(Load(caller.address, options.clients), process, options.seconds, server.url)
        complaints = [line for line in (folder / "error.log").read_text().splitlines() if "[error]" in line]
        cut = [line for line in complaints if "connect() failed" not in line]
        print(f"nginx's error log: {len(complaints)} lines, {len(cut)} of them not about a refused connection")
        for line in cut[:5]:
            print("   ", line)
        if not right:
            print((folder / "log").read_text()[-3000:])
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
