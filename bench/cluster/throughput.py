"""How many requests a second one and two service machines give, with reads on the standbys or on the primary; and
what the cookies, the watcher and the look on the primary give over HAProxy's and libpq's own means."""

import contextlib
import statistics
import tempfile
import threading
import time
from pathlib import Path

from bench import fill
from bench.cluster.building import DATABASES, SERVICES, ask
from bench.cluster.callers import Caller, Crowd
from bench.cluster.faults import replay_stopped, switchover, without_power
from bench.cluster.machines import until
from bench.load import load

LEADS, SECONDS = 50_000, 8
READER = "leads_replica=1"  # what a caller sends that may be answered by a standby
SERVING = dict.fromkeys(DATABASES, ("postgres", "pgbouncer"))  # and not Patroni or etcd, which cost the same unasked
CORES = 0.25  # of each machine that is to be the limit, so that the two cores which all of them share are not


def run(cluster):
    """requests a second where the service machines, and where the PostgreSQLs, have a quarter of a core each; ratios"""
    until(cluster.whole, "a whole cluster")
    if cluster.psql(cluster.primary(), "\\c leads", "SELECT count(*) < 1000 FROM leads").strip() == "t":
        cluster.psql(cluster.primary(), "\\c leads", fill.statement(1, LEADS), "VACUUM ANALYZE leads", "CHECKPOINT")
    some = cluster.psql(cluster.primary(), "\\c leads", "SELECT id FROM leads LIMIT 2000").split()
    service = {"one": [f"/leads/{lead}" for lead in some], "list20": ["/leads/?limit=20"]}
    search = {"search20": [f"/leads/search/{term}?limit=20" for term in ("vasseur", "garage", "elise")]}
    for what, machines, paths in (("service", SERVICES, service), ("PostgreSQL", DATABASES, search)):
        with contextlib.ExitStack() as limits:
            for name in machines:
                limits.enter_context(cluster[name].limited(CORES, SERVING.get(name, "")))
            print(f"    a quarter of a core for each {what}:", flush=True)
            for name, asked in paths.items():
                _rates(cluster, name, asked)
    return True


def _rates(cluster, name, paths):
    first = None
    for machines in (1, 2):
        cluster.haproxy(f"set server leads/app2 state {'ready' if machines == 2 else 'maint'}")
        for source, cookie in (("primary", ""), ("standbys", READER)):
            rate, spent = _rate(cluster, paths, cookie)
            first = first or rate
            print(f"    {name}, {machines} of the service, reads from the {source}: {rate:.0f} a second, "
                  f"{rate / first:.2f} of the first; ms of a core for each: {spent}", flush=True)


def _rate(cluster, paths, cookie):
    with tempfile.TemporaryDirectory() as folder:
        address, credential = f"{cluster['front'].address}/api", f"Bearer {cluster.keys['reader']}"
        load(address, "GET", paths, 2, Path(folder), credential, cookie)
        before = _spent(cluster)
        asked, rate, _, _, refused = load(address, "GET", paths, SECONDS, Path(folder), credential, cookie)
        after = _spent(cluster)
    assert not refused, refused
    return rate, ", ".join(f"{name} {1e3 * (after[name] - before[name]) / asked:.2f}" for name in after)


def _spent(cluster):
    """The processor's seconds that what serves has used, by machine."""
    return {name: machine.spent(SERVING.get(name, "")) for name, machine in cluster.machines.items() if name != "watch"}


def compare(cluster):
    """what the service's cookies, watcher and look on the primary give"""
    with_cookies = _back(cluster, "cookies kept", cookies=True)
    _back(cluster, "no cookies, reads from standbys", cookies=False)
    _stopped(cluster, "cookies")
    return with_cookies == 0


# The other way: all reads go to the synchronous standby, which HAProxy finds, and a write waits until that shows it.
OTHER_WAY = {
    "cluster/haproxy.cfg": {"frontend metrics": """listen synchronous
    bind :5001
    mode tcp
    option httpchk OPTIONS /sync
    timeout client 1h
    timeout server 1h
    default-server on-marked-down shutdown-sessions check port 8008
    server db1 db1:6432
    server db2 db2:6432
    server db3 db3:6432

frontend metrics"""},
    "cluster/leads.env": {"db2:6432,db3:6432,db1:6432/leads?target_session_attrs=prefer-standby": "front:5001/leads"},
    "cluster/patroni.yml": {"        max_connections: 100": "        max_connections: 100\n"
                                                            "        synchronous_commit: remote_apply"},
}


def compare_other_way(cluster):
    """the same by HAProxy's and PostgreSQL's means: remote_apply, reads from the synchronous standby"""
    _back(cluster, "remote_apply, reads from the synchronous standby", cookies=False)
    _back(cluster, "the same, with a switchover in the midst", cookies=False, meanwhile=switchover)
    _back(cluster, "the same, with that standby killed", cookies=False,
          meanwhile=lambda made: without_power(made, made.standby()))
    _stopped(cluster, "remote_apply")
    return True


def _back(cluster, words, cookies, meanwhile=contextlib.nullcontext):
    until(cluster.whole, "a whole cluster")
    with Crowd(cluster, cookies=cookies) as crowd:
        time.sleep(1)
        since = time.monotonic()
        with meanwhile(cluster):
            time.sleep(12)
        until(cluster.whole, "a whole cluster")
    looks = [answer for writer in crowd.writers for answer in writer.answers
             if answer.method == "GET" and answer.status == 200 and answer.asked > since]
    writes = [answer.answered - answer.asked for answer in crowd.answers(since) if answer.method == "PATCH"]
    back = len(crowd.went_back([]))
    print(f"    {words}: {back} of {len(looks)} looks at one's own write showed what was before; a write took "
          f"{statistics.median(writes) * 1e3:.0f} ms (median), {max(writes):.1f} s at most", flush=True)
    return back


class _Looker(Caller):
    """Looks at what was written last, as a caller who has not written; notes by how many seconds it is behind."""

    def run(self):
        self.behind = 0.0
        while not self._over.is_set():
            status, answer = self.ask("GET", "/leads/?limit=1")
            if status == 200 and answer["data"] and answer["data"][0]["city"].startswith("at "):
                self.behind = max(self.behind, time.time() - float(answer["data"][0]["city"][3:]))


def _stopped(cluster, words):
    """The synchronous standby does not replay for 15 s: how long do writers wait, how stale are answers, and when would
    HAProxy's check of Patroni's lag see it?"""
    until(cluster.whole, "a whole cluster")
    name = cluster.standby()
    over = threading.Event()
    writer, looker = (kind(cluster["front"].address, cluster.keys["editor"], over) for kind in (Caller, _Looker))
    writer.run = lambda: [writer.ask("POST", "/leads/", {"name": "Clock", "city": f"at {time.time()}"})
                          for _ in iter(over.is_set, True)]
    for thread in (writer, looker):
        thread.start()
    time.sleep(3)
    looker.behind = 0.0
    stopped, seen = time.monotonic(), None
    with replay_stopped(cluster, name):
        while time.monotonic() < stopped + 15:
            if seen is None and ask(f"http://{cluster[name].address}:8008/replica?lag=1MB")[0] != 200:
                seen = time.monotonic() - stopped
            time.sleep(0.2)
    time.sleep(2)
    over.set()
    for thread in (writer, looker):
        thread.join()
    slowest = max(answer.answered - answer.asked for answer in writer.answers)
    print(f"    {words}, replay stopped for 15 s: the slowest write took {slowest:.1f} s, the stalest answer was "
          f"{looker.behind:.1f} s old; Patroni's /replica?lag=1MB "
          + (f"refused after {seen:.1f} s" if seen else "never refused"), flush=True)
