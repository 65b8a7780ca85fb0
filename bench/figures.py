"""What `GET /leads/stats` costs, as multiples of `SELECT count(*) FROM leads` in the same database.

    .venv/bin/pip install -r bench/requirements.txt
    .venv/bin/python bench/figures.py [--rows 1000000] [--rounds 9] [--keep FOLDER]

It fills two databases of the embedded server (bench/fill.py): leads without a value or a next step, and leads that all
have both. A round asks for the figures by each field three times, and for the count seven times in between; a field's
multiple is that of the medians of a round. Prints the median of the rounds, the lowest and the highest; exit status 1
when a median misses its aim.
"""

import argparse
import atexit
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench.load import Asker, counting, database_of, served
from leads_service.contract.lists import GROUPINGS
from leads_service.database import embedded

AIM = 4  # × count(*)


def multiples(url, rounds):
    """Field → (median ms, multiples of count(*) in each round)."""
    found = {by: ([], []) for by in GROUPINGS}
    with served(url) as (_, address):
        asker = Asker(address)
        for _ in range(rounds):
            for by, (times, ratios) in found.items():
                spent = asker.median(f"/leads/stats?by={by}")
                times.append(spent)
                ratios.append(spent / counting(url))
    return {by: (statistics.median(times), sorted(ratios)) for by, (times, ratios) in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = embedded.start((arguments.keep or folder / "data").resolve())
    missed = []
    for valued in (False, True):
        url = database_of(server, arguments.rows, valued)
        print(f"\n{arguments.rows:,} leads, {'all' if valued else 'none'} with value and next step; "
              f"count(*) {counting(url):.0f} ms\n\n| by | median ms | × count(*) | lowest | highest |\n"
              "|---|--:|--:|--:|--:|")
        for by, (spent, ratios) in multiples(url, arguments.rounds).items():
            median = statistics.median(ratios)
            print(f"| {by} | {spent:.0f} | {median:.2f} | {ratios[0]:.2f} | {ratios[-1]:.2f} |", flush=True)
            if median > AIM:
                missed.append(by)
    sys.exit(f"Over {AIM} × count(*): {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
