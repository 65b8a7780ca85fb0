"""The cluster of deploy/cluster/, built in network namespaces of this machine, broken, and taken down again.

    .venv/bin/python -m bench.cluster [--only WHAT …] [--rounds 10] [--asynchronous]     # as root

Needs the packages that docs/cluster.md names, and wrk for the throughput. Prints figures; exit status 1 when a promise
does not hold, such as that with synchronous replication nothing acknowledged is lost, and that nobody who wrote reads
what was before.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / place) for place in ("", "tests")]

from bench.cluster import alerts, faults, moving, recovery, rolling, splits, throughput
from bench.cluster.building import cluster


def _split(made):
    """two sides, with a client beside the old primary"""
    gone = [splits.run(made, way) for way in (splits.cut, splits.patroni_killed)]
    return not made.synchronous or not any(gone)


LIBPQ = "db1:6432,db2:6432,db3:6432/leads?target_session_attrs=read-write"
OTHERS = {"split": _split, "throughput": throughput.run, "compare": throughput.compare,
          "compare-other-way": throughput.compare_other_way, "rolling": rolling.run, "recovery": recovery.run,
          "moving": moving.run, "alerts": alerts.run}
# What has a cluster of its own, made of files that are changed so.
CHANGED = {"moving": {}, "alerts": alerts.SHORTER, "compare-other-way": throughput.OTHER_WAY}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=[*faults.KINDS, *OTHERS], default=[*faults.KINDS, *OTHERS],
                        metavar="WHAT", help=f"of {', '.join([*faults.KINDS, *OTHERS])}")
    parser.add_argument("--rounds", type=int, default=10, help="of each fault")
    parser.add_argument("--seconds", type=float, default=600, help="after which no other round of a fault begins")
    parser.add_argument("--asynchronous", action="store_true", help="synchronous_mode off")
    parser.add_argument("--libpq", action="store_true",
                        help="DATABASE_URL names the database machines, in place of HAProxy's port")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all is taken down
    right = True
    usual = {"cluster/leads.env": {"front:5000/leads": LIBPQ}} if options.libpq else {}
    together = [name for name in options.only if name not in CHANGED]
    for names, changes in [(together, usual), *(([name], CHANGED[name]) for name in options.only if name in CHANGED)]:
        if names:
            right &= _run(names, changes, options)
    return 0 if right else 1


def _run(names, changes, options):
    begun, right = time.monotonic(), True
    with cluster(changes) as made:
        print(f"The cluster stands after {time.monotonic() - begun:.0f} s", flush=True)
        if options.asynchronous:
            made.set_synchronous(False)
        for name in names:
            what = OTHERS.get(name) or faults.KINDS[name]
            print(f"{name}: {what.__doc__.splitlines()[0]}", flush=True)
            if name in OTHERS:
                right &= what(made)
                continue
            figures = faults.run(made, what, options.rounds, options.seconds)
            print(figures, flush=True)
            right &= not figures.back and (options.asynchronous or not figures.lost)
    print(f"{time.monotonic() - begun:.0f} s in all")
    return right


if __name__ == "__main__":
    sys.exit(main())
