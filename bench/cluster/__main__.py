"""The cluster of deploy/cluster/, built in network namespaces of this machine, broken, and taken down again.

    .venv/bin/python -m bench.cluster [--only KIND …] [--rounds 10] [--asynchronous]     # as root

Needs the packages that docs/cluster.md names. Prints figures; exit status 1 when a promise does not hold: that with
synchronous replication nothing acknowledged is lost, and that nobody who wrote reads what was before.
"""

import argparse
import signal
import sys
import time

from bench.cluster import faults
from bench.cluster.building import cluster


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=faults.KINDS, default=[*faults.KINDS], metavar="KIND",
                        help=f"of {', '.join(faults.KINDS)}")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=600, help="after which no other round of a kind begins")
    parser.add_argument("--asynchronous", action="store_true", help="synchronous_mode off")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all is taken down
    begun, right = time.monotonic(), True
    with cluster() as made:
        print(f"The cluster stands after {time.monotonic() - begun:.0f} s", flush=True)
        if options.asynchronous:
            made.set_synchronous(False)
        for name in options.only:
            print(f"{name}: {faults.KINDS[name].__doc__}", flush=True)
            figures = faults.run(made, faults.KINDS[name], options.rounds, options.seconds)
            print(figures, flush=True)
            right &= not figures.back and (options.asynchronous or not figures.lost)
    print(f"{time.monotonic() - begun:.0f} s in all")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
