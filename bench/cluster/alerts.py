"""Each alert of deploy/cluster/rules.yml, fired by the fault that it is for, as Alertmanager sees it; and what the
dashboard shows meanwhile. Times are shortened, see SHORTER: thresholds and expressions are those of the file."""

import contextlib
import datetime as dt
import json
import re
import signal
import threading
import time
import urllib.parse

from bench.cluster.building import DATABASES, ROOT, ask
from bench.cluster.callers import Caller, Crowd
from bench.cluster.faults import replay_stopped
from bench.cluster.machines import until

SHORTER = {
    "cluster/rules.yml": {"10m": "20s", "for: 5m": "for: 5s", "5m": "20s", "for: 1m": "for: 5s",
                          "leads_feed_lag_seconds > 60": "leads_feed_lag_seconds > 6"},
    "cluster/prometheus.yml": {"scrape_interval: 15s": "scrape_interval: 1s",
                               "evaluation_interval: 15s": "evaluation_interval: 1s"},
}
_TRIGGER = """CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {does}; RETURN NEW; END$$;
              CREATE TRIGGER broken BEFORE INSERT OR UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION broken()"""


def _on_primary(cluster, *statements):
    return cluster.psql(cluster.primary(), "\\c leads", *statements)


@contextlib.contextmanager
def _stopped(cluster, unit, *names):
    for name in names:
        cluster[name].stop(unit)
    yield
    for name in names:
        cluster.start_unit(name, unit)


def _service_stopped(cluster):
    return _stopped(cluster, "leads", "app1")


def _databases_stopped(cluster):
    return _stopped(cluster, "patroni", *DATABASES)


def _standbys_stopped(cluster):
    return _stopped(cluster, "patroni", *_standbys(cluster))


def _etcd_stopped(cluster):
    return _stopped(cluster, "etcd", "db1")


def _standbys(cluster):
    return [name for name in DATABASES if name != cluster.primary()]


@contextlib.contextmanager
def _replay_stopped(cluster):
    with replay_stopped(cluster, _standbys(cluster)[0]):
        _on_primary(cluster, "CREATE TABLE filler AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 90000) n",
                    "DROP TABLE filler")
        yield


@contextlib.contextmanager
def _trigger(cluster, does):
    _on_primary(cluster, _TRIGGER.format(does=does))
    yield
    _on_primary(cluster, "DROP FUNCTION broken CASCADE")


def _failing(cluster):
    return _trigger(cluster, "RAISE EXCEPTION 'broken on purpose'")


def _slow(cluster):
    return _trigger(cluster, "PERFORM pg_sleep(0.7)")


def _colliding(cluster):
    return _trigger(cluster, "IF random() < 0.7 THEN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END IF")


@contextlib.contextmanager
def _locked(cluster):
    lock = threading.Thread(target=_on_primary, args=(cluster, "BEGIN; LOCK TABLE leads; SELECT pg_sleep(40); COMMIT"))
    lock.start()
    yield
    lock.join()


@contextlib.contextmanager
def _worker_missing(cluster):
    cluster["app1"].process("leads").send_signal(signal.SIGTTOU)
    yield
    cluster["app1"].process("leads").send_signal(signal.SIGTTIN)


@contextlib.contextmanager
def _long_transaction(cluster):
    writer = threading.Thread(target=_on_primary, args=(
        cluster, "BEGIN; INSERT INTO leads (name) VALUES ('Slow'); SELECT pg_sleep(20); COMMIT"))
    writer.start()
    yield
    writer.join()


# (the fault in words, it, callers of each kind, the alerts that it is to fire)
FAULTS = [
    ("gunicorn of app1 stopped", _service_stopped, 2, ["ServiceDown", "FrontMissesAMachine"]),
    ("a trigger that raises an error", _failing, 1, ["Bug", "CallersAreFailed"]),  # the first to fail callers
    ("a trigger that takes 0.7 s", _slow, 1, ["Slow"]),
    ("the table locked for 40 s, 40 writers", _locked, 40, ["PoolRunsOut"]),
    ("one worker of app1 sent away (TTOU)", _worker_missing, 1, ["WorkersMissing"]),
    ("a transaction open for 20 s, the feed read", _long_transaction, 1, ["FeedHeldBack"]),
    ("a trigger that has two of three writes tried again", _colliding, 8, ["WritersCollide"]),
    ("Patroni stopped on all three", _databases_stopped, 2, ["NoPrimary", "DatabaseRefuses"]),
    ("both standbys stopped", _standbys_stopped, 1, ["StandbyMissing", "OnOneMachineOnly"]),
    ("a standby's replay stopped, 90 MB written", _replay_stopped, 1, ["StandbyLags"]),
    ("etcd of db1 stopped", _etcd_stopped, 1, ["EtcdMissing"]),
]


class _FeedReader(Caller):
    def run(self):
        while not self._over.is_set():
            self.ask("GET", "/leads/changes?limit=1")
            time.sleep(0.3)


def _read_feed(cluster, crowd):
    _FeedReader(cluster["front"].address, cluster.keys["reader"], crowd.over).start()


def _firing(cluster, since):
    """The alerts that Alertmanager has, of those that began to fire after `since`."""
    status, body = ask(f"http://{cluster['watch'].address}:9093/api/v2/alerts?active=true")
    return {alert["labels"]["alertname"] for alert in json.loads(body if status == 200 else "[]")
            if dt.datetime.fromisoformat(alert["startsAt"]).timestamp() > since}


def run(cluster):
    """every rule by the fault that it is for, and after how many seconds Alertmanager had it"""
    rules = re.findall(r"alert: (\w+)", (ROOT / "deploy/cluster/rules.yml").read_text())
    with Crowd(cluster, 1, 1) as crowd:
        _read_feed(cluster, crowd)
        time.sleep(30)  # of which most is as usual
    right, fired = _look_at_dashboard(cluster), {}
    for words, fault, callers, wanted in FAULTS:
        until(cluster.whole, "a whole cluster", 180)
        found = _fire(cluster, fault, callers, wanted)
        print(f"    {words}: " + ", ".join(f"{name} after {found[name]:.0f} s" if name in found else f"{name} NOT"
                                           for name in wanted), flush=True)
        fired |= found
    print(f"    {len(fired.keys() & set(rules))} of {len(rules)} rules fired")
    return right and set(rules) <= fired.keys()


def _fire(cluster, fault, callers, wanted):
    """{alert: seconds until Alertmanager had it}, of those that are wanted."""
    found = {}
    with Crowd(cluster, callers, 1) as crowd:
        _read_feed(cluster, crowd)
        began, begun = time.time(), time.monotonic()
        with fault(cluster):
            while len(found) < len(wanted) and time.monotonic() < begun + 60:
                for name in _firing(cluster, began) & set(wanted):
                    found.setdefault(name, time.monotonic() - begun)
                time.sleep(0.5)
    return found


def _look_at_dashboard(cluster):
    dashboard = json.loads((ROOT / "deploy/cluster/grafana-dashboard.json").read_text())
    queries = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    empty = []
    for title, query in queries:
        query = urllib.parse.quote(query.replace("$__rate_interval", "20s"))
        status, body = ask(f"http://{cluster['watch'].address}:9090/api/v1/query?query={query}")
        if status != 200 or not json.loads(body)["data"]["result"]:
            empty.append(title)
    print(f"    the dashboard's {len(queries)} queries: {len(queries) - len(empty)} have an answer"
          + f"; none: {', '.join(empty)}" * bool(empty), flush=True)
    return not empty
