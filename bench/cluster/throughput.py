"""How many requests a second, with one and two service machines, and with reads on the standbys or on the primary; and
what the cookies, the watcher and the look on the primary give over HAProxy's and libpq's own means."""

import contextlib
import statistics
import tempfile
import threading
import time
from pathlib import Path

from bench import fill
from bench.cluster.building import ask
from bench.cluster.callers import Caller, Crowd
from bench.cluster.faults import replay_stopped, switchover, without_power
from bench.cluster.machines import until
from bench.load import load

LEADS, SECONDS = 50_000, 8
READER = "leads_replica=1"  # what a caller sends that may be answered by a standby


def run(cluster):
    """requests a second of `one` and `list20`, and ratios"""
    until(cluster.whole, "a whole cluster")
    if cluster.psql(cluster.primary(), "\\c leads", "SELECT count(*) < 1000 FROM leads").strip() == "t":
        cluster.psql(cluster.primary(), "\\c leads", fill.statement(1, LEADS), "ANALYZE leads")
    some = cluster.psql(cluster.primary(), "\\c leads", "SELECT id FROM leads LIMIT 2000").split()
    paths = {"one": [f"/leads/{lead}" for lead in some], "list20": ["/leads/?limit=20"]}
    found = {}
    for machines in (2, 1):
        state = "ready" if machines == 2 else "maint"
        cluster.haproxy(f"set server leads/app2 state {state}")
        for source, cookie in (("primary", ""), ("standbys", READER)):
            for name, asked in paths.items():
                found[machines, source, name] = _rate(cluster, asked, cookie)
    cluster.haproxy("set server leads/app2 state ready")
    for (machines, source, name), rate in found.items():
        print(f"    {name}, {machines} of the service, reads from the {source}: {rate:.0f} a second, "
              f"{rate / found[1, 'primary', name]:.2f} of one machine's from the primary", flush=True)
    return True


def _rate(cluster, paths, cookie):
    with tempfile.TemporaryDirectory() as folder:
        address, credential = f"{cluster['front'].address}/api", f"Bearer {cluster.keys['reader']}"
        load(address, "GET", paths, 2, Path(folder), credential, cookie)
        _, rate, _, _, refused = load(address, "GET", paths, SECONDS, Path(folder), credential, cookie)
    assert not refused, refused
    return rate


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


