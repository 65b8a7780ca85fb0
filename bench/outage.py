"""A database that is down, that hangs, or that packets no longer reach: what callers see, and when it is back.

    .venv/bin/python bench/outage.py [--seconds S]     # as root also with dropped packets, in a network namespace

Behind nginx, callers read and write leads, ask for /health and for /health/ready, without pause, while PostgreSQL is
killed, stopped by SIGSTOP, or cut off by a route that drops its answers; then it comes back. For each: how long the
callers of the database waited, what they were answered, how long /health took meanwhile, and whether the first requests
afterwards, one for each pooled connection and more, were served. Prints the figures; exit status 1 when an answer is
none of 200, 201, 503 and 504, when /health waits, or when a request fails although the database is back.
"""

import argparse
import collections
import contextlib
import json
import os
import subprocess
import sys
import threading
import time

import psutil

from clients import CutError, KeptAlive, postgres
from real.nginx import behind_nginx
from real.replication import Server, make_primary
from real.service import free_port

STATEMENT_TIMEOUT = 4  # seconds; by default 15
ROUTES = [("GET", "/leads/?limit=5", None), ("POST", "/leads/", {"name": "Lead"}), ("GET", "/leads/search/lead", None)]


class Callers:
    """Callers of the database, of /health and of /health/ready, for as long as the block lasts."""

    def __init__(self, address, number=8):
        self.asked = collections.defaultdict(list)  # what: [(seconds, status, code)]
        self._over = threading.Event()
        jobs = [("database", ROUTES[number % 3]) for number in range(number)]
        jobs += [("/health", ("GET", "/health", None)), ("/health/ready", ("GET", "/health/ready", None))]
        self._threads = [threading.Thread(target=self._run, args=(address, *job)) for job in jobs]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, address, what, request):
        client = KeptAlive(address)
        while not self._over.is_set():
            begun = time.monotonic()
            try:
                status, _, raw = client.ask(*request)
                code = json.loads(raw).get("code", "")
            except CutError as error:
                status, code = 0, str(error)
            self.asked[what].append((time.monotonic() - begun, status, code))
            time.sleep(0.05)


@contextlib.contextmanager
def killed(server):
    server.kill()
    yield
    server.start()


@contextlib.contextmanager
def frozen(server):
    postmaster = psutil.Process(server.process.pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    yield
    for process in processes:
        process.resume()


NAMESPACE, OURS, THEIRS = f"leads{os.getpid()}", "10.231.7.1", "10.231.7.2"


@contextlib.contextmanager
def cut_off(server):
    route = ["ip", "-n", NAMESPACE, "route"]
    subprocess.run([*route, "add", "blackhole", f"{OURS}/32"], check=True)
    yield
    subprocess.run([*route, "del", "blackhole", f"{OURS}/32"], check=True)


class RemoteServer(Server):
    """A PostgreSQL in the network namespace."""

    def __init__(self, pgdata, user):
        super().__init__(pgdata, user)
        port = str(free_port())
        self.url = f"postgresql://postgres@{THEIRS}:{port}/postgres"
        self._command = ["ip", "netns", "exec", NAMESPACE, "setpriv", f"--reuid={user}", "--clear-groups",
                         *self._command[:-1], THEIRS, "-p", port]
        self._runner = {}


def make_remote(pgdata):
    """A running PostgreSQL in the network namespace."""
    local = make_primary(pgdata)
    local.kill()
    with open(pgdata / "pg_hba.conf", "a") as file:
        file.write("host all all samenet trust\n")
    remote = RemoteServer(local.pgdata, local.user)
    remote.start()
    return remote


@contextlib.contextmanager
def network():
    """A network namespace that reaches this one by a pair of virtual devices."""
    ours, theirs = f"{NAMESPACE}a"[-15:], f"{NAMESPACE}b"[-15:]
    commands = [f"netns add {NAMESPACE}", f"link add {ours} type veth peer name {theirs} netns {NAMESPACE}",
                f"addr add {OURS}/30 dev {ours}", f"link set {ours} up", f"-n {NAMESPACE} link set lo up",
                f"-n {NAMESPACE} addr add {THEIRS}/30 dev {theirs}", f"-n {NAMESPACE} link set {theirs} up"]
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)


def told(asked):
    """`asked` as one line: how often what was answered, and how long it took at most."""
    answers = collections.Counter(f"{status} {code}".strip() for _, status, code in asked)
    seconds = sorted(seconds for seconds, _, _ in asked)
    return f"{dict(answers)}, median {seconds[len(seconds) // 2]:.3f} s, slowest {seconds[-1]:.2f} s"


def run(name, outage, server, address, seconds, limit):
    """One outage of `seconds`; whether callers were answered within `limit` seconds and served afterwards."""
    with Callers(address):
        time.sleep(1)  # every worker has its connections
    time.sleep(6)  # and they are cold
    with Callers(address) as callers:
        time.sleep(1)
        usual = dict(callers.asked)
        callers.asked = collections.defaultdict(list)
        with outage(server):
            begun = time.monotonic()
            time.sleep(seconds)
            during = {what: list(asked) for what, asked in callers.asked.items()}
            back = time.monotonic()
        back_after = time.monotonic() - back
    print(f"{name}, for {back - begun:.0f} s (back after {back_after:.1f} s)")
    print(f"    before: /health {told(usual['/health'])}")
    for what, asked in during.items():
        print(f"    {what}: {told(asked)}")
    with outage(server):
        time.sleep(2)
        begun = time.monotonic()
        status, _, raw = KeptAlive(address).ask("GET", "/health/ready")
        print(f"    a single /health/ready: {status} {json.loads(raw)['code']} after {time.monotonic() - begun:.2f} s")
    first = []
    for _ in range(20):
        begun = time.monotonic()
        first.append(KeptAlive(address).ask("GET", "/leads/?limit=1")[0])
        first.append(KeptAlive(address).ask("POST", "/leads/", {"name": "Lead"})[0])
        if len(first) == 2:
            print(f"    back: the first two requests {first} after {time.monotonic() - begun:.2f} s", end="")
    print(f", {sum(status in (200, 201) for status in first)} of {len(first)} served", flush=True)
    waited = max(seconds for seconds, _, _ in during["database"])
    return (set(first) <= {200, 201} and waited < limit
            and all(status in (200, 201, 503, 504) for asked in during.values() for _, status, _ in asked)
            and all(status == 200 for _, status, _ in during["/health"])
            and max(seconds for seconds, _, _ in during["/health"]) < 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, help="that each outage lasts; by default 8 and 20")
    options = parser.parse_args()
    right = True
    limit = STATEMENT_TIMEOUT + 3
    for name, outage, seconds, most in (("killed", killed, 8, 3), ("stopped by SIGSTOP", frozen, 20, limit),
                                        ("packets dropped", cut_off, 20, limit)):
        with contextlib.ExitStack() as stack:
            if outage is cut_off:
                if os.getuid() != 0:
                    print("packets dropped: left out, a network namespace takes root")
                    continue
                stack.enter_context(network())
            server, folder = stack.enter_context(postgres(make_remote if outage is cut_off else make_primary))
            _, caller = stack.enter_context(behind_nginx(
                folder, DATABASE_URL=server.url, WEB_CONCURRENCY=2, LEADS_CONNECTIONS=4,
                LEADS_STATEMENT_TIMEOUT=STATEMENT_TIMEOUT))
            right &= run(name, outage, server, caller.address, options.seconds or seconds, most)
            print(f"    stacks in the service's log: {(folder / 'log').read_text().count('Traceback')}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
