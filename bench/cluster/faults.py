"""Each kind of fault: what is broken, how it is mended, and what the callers saw of it."""

import collections
import contextlib
import signal
import statistics
import time

from bench.cluster.building import DATABASES, SERVICES, ask
from bench.cluster.callers import Crowd, there
from bench.cluster.machines import until

DATA = "/var/lib/postgresql/15/leads"
QUIET, LONGEST = 2, 60  # seconds before a fault; after which an outage ends the bench


@contextlib.contextmanager
def postgres_killed(cluster):
    """PostgreSQL of the primary (SIGKILL)"""
    cluster[cluster.primary()].run("sh", "-c", f"kill -9 $(head -1 {DATA}/postmaster.pid)")
    yield


@contextlib.contextmanager
def without_power(cluster, name):
    """One machine is off."""
    cluster[name].kill()
    yield
    cluster.reboot(name)


def machine_killed(cluster):
    """the primary's machine, PostgreSQL, Patroni, etcd and all (its power)"""
    return without_power(cluster, cluster.primary())


@contextlib.contextmanager
def network_cut(cluster):
    """the primary's network (its cable)"""
    name = cluster.primary()
    cluster[name].cut()
    yield
    cluster[name].mend()


@contextlib.contextmanager
def etcd_leader_killed(cluster):
    """etcd's leader (SIGKILL)"""
    leaders = [name for name in DATABASES
               if "etcd_server_is_leader 1" in ask(f"http://{cluster[name].address}:2379/metrics")[1]]
    cluster[leaders[0]].stop("etcd", signal.SIGKILL)
    time.sleep(10)  # Patroni asks every five
    yield
    cluster[leaders[0]].start("etcd")


@contextlib.contextmanager
def etcd_killed(cluster):
    """etcd on all three machines (SIGKILL), for 40 s, two of Patroni's ttl"""
    for name in DATABASES:
        cluster[name].stop("etcd", signal.SIGKILL)
    time.sleep(40)
    yield
    for name in DATABASES:
        cluster[name].start("etcd")


def service_killed(cluster):
    """a service machine (its power)"""
    return without_power(cluster, SERVICES[int(time.monotonic()) % 2])


@contextlib.contextmanager
def switchover(cluster):
    """nothing: `patronictl switchover`"""
    cluster.patronictl("switchover", "--master", cluster.primary(), "--candidate", cluster.standby(), "--force",
                       "leads")
    yield


@contextlib.contextmanager
def pgbouncer_restarted(cluster):
    """the primary's PgBouncer, which is restarted"""
    machine = cluster[cluster.primary()]
    machine.stop("pgbouncer", signal.SIGINT)
    machine.start("pgbouncer")
    yield


@contextlib.contextmanager
def disk_full(cluster):
    """the disk of the synchronous standby, which is filled"""
    name = cluster.standby()
    cluster[name].run("sh", "-c", f"cat /dev/zero > {DATA}/../filler", check=False)

    def fails():
        # A standby needs room when the log goes on in another of its files of 16 MB.
        cluster.psql(cluster.primary(), "SELECT pg_switch_wal()")
        time.sleep(0.5)
        return "No space left" in cluster[name].log("patroni")

    cluster[name].forget("patroni")
    until(fails, "a standby that has no room")
    yield
    cluster[name].run("rm", f"{DATA}/../filler")


@contextlib.contextmanager
def replay_stopped(cluster, name):
    """Hold a standby's replay (SIGSTOP), while it goes on receiving; Patroni ends what pg_wal_replay_pause() begins."""
    pid = cluster.psql(name, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'").strip()
    cluster[name].run("kill", "-STOP", pid)
    yield
    cluster[name].run("kill", "-CONT", pid)


KINDS = {kind.__name__.replace("_", "-"): kind for kind in (
    postgres_killed, machine_killed, network_cut, etcd_leader_killed, etcd_killed, service_killed, switchover,
    pgbouncer_restarted, disk_full)}


class Figures:
    """What the rounds of one kind came to."""

    def __init__(self):
        self.writes, self.reads, self.codes = [], [], collections.Counter()
        self.acknowledged, self.lost, self.back, self.slowest = 0, 0, 0, 0.0

    def __str__(self):
        codes = ", ".join(f"{status or 'cut'}{' ' + code if code else ''} × {times}"
                          for (status, code), times in sorted(self.codes.items()))
        without = ", ".join(f"without a {what}: median {statistics.median(gaps):.1f}, worst {max(gaps):.1f}"
                            for what, gaps in (("write", self.writes), ("read", self.reads)))
        return (f"    {len(self.writes)} rounds; seconds {without}; the slowest answer took {self.slowest:.1f} s\n"
                f"    {codes}\n"
                f"    {self.acknowledged} writes acknowledged, {self.lost} of them lost; "
                f"{self.back} reads went back in time")


def run(cluster, kind, rounds, seconds):
    """So many rounds of the kind, or as many as begin within `seconds`; gives their Figures."""
    figures, begun = Figures(), time.monotonic()
    while len(figures.writes) < rounds and time.monotonic() - begun < seconds:
        _round(cluster, kind, figures)
    return figures


def _round(cluster, kind, figures):
    until(cluster.whole, "a whole cluster", 120)
    with Crowd(cluster) as crowd:
        time.sleep(QUIET)
        since = time.monotonic()
        with kind(cluster):
            broken = max(time.monotonic(), since + 0.5)
            until(lambda: crowd.writes_again(broken), "a write", LONGEST)
            time.sleep(QUIET)
        until(cluster.whole, "a whole cluster again", 120)
        time.sleep(QUIET)
        ended = time.monotonic()
    _judge(cluster, crowd, since, ended, figures)


def _judge(cluster, crowd, since, ended, figures):
    answers = crowd.answers(since)
    lost = crowd.lost(there(cluster))
    figures.writes.append(crowd.gap(since, ended, ("POST", "PATCH")))
    figures.reads.append(crowd.gap(since, ended, ("GET",)))
    figures.codes.update((answer.status, answer.code) for answer in answers)
    figures.slowest = max(figures.slowest, *(answer.answered - answer.asked for answer in answers))
    figures.acknowledged += sum(len(writes) for writer in crowd.writers for writes in writer.acknowledged.values())
    back = crowd.went_back(lost)
    figures.lost += len(lost)
    figures.back += len(back)
    if back or (lost and cluster.synchronous):  # a promise is broken: what there is to find out why
        print(f"    broken at {since:.1f}, lost (when, lead, number): {lost}\n"
              f"    back (when, lead, seen, at least): {back}")
        for name in DATABASES:
            print(f"--- {name}'s Patroni and PostgreSQL\n{cluster[name].log('patroni')[-8000:]}", flush=True)
