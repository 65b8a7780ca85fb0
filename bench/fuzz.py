"""Throw requests made from its own description, sound and broken, at a real service.

    .venv/bin/python -m bench.fuzz [--requests 100000] [--seed 1]

It starts a PostgreSQL and a gunicorn with two workers, both thrown away at the end, and asks every operation of
/openapi.json with values that fit the description and with values that do not. Each answer is held to the description
and to the promises of tests/real/described.py: there must be no 5xx, no undocumented answer, no failure outside the
envelope, no lead without a column, no row changed by a refused request, and no stack in the log. Prints the answers by
operation and status, then each kind of failure with an example. Exit status 0 when there was none.
"""

import argparse
import atexit
import collections
import contextlib
import random
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from real.described import Held
from real.migrations import apply_all
from real.postgres import server
from real.service import service

MAX_BODY = 50_000
AT_ONCE = 500  # examples that hypothesis is asked for at one time


def asked(held, operation, mode, examples, number, failures):
    """Ask the operation `examples` times; each failure is added to `failures` under its title."""
    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case):
        try:
            held.ask(case)
        except FailureGroup as group:
            for failure in group.exceptions:
                failures[operation.label, failure.title].append((case.as_curl_command(), failure.message))

    with contextlib.suppress(Unsatisfiable):  # an operation without parameters has nothing that could be broken
        ask()


def report(held, failures, stacks, number):
    """Print what was answered, and what was wrong with it."""
    statuses = sorted({status for _, status in held.answers})
    print(f"{'':34}" + "".join(f"{status:>7}" for status in statuses))
    for label in sorted({label for label, _ in held.answers}):
        print(f"{label:34}" + "".join(f"{held.answers[label, status] or '':>7}" for status in statuses))
    print(f"{held.answers.total()} requests (seed {number}), {len(failures)} kinds of failure, "
          f"{stacks} stacks in the log")
    for (label, title), cases in failures.items():
        print(f"\n{len(cases)} x {label}: {title}\n  {cases[0][1]}\n  {cases[0][0]}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--requests", type=int, default=20_000)
    arguments.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # before the server's own, and so called after it
    apply_all(url := server(folder / "data"))
    failures = collections.defaultdict(list)
    with service(folder / "log", DATABASE_URL=url, WEB_CONCURRENCY=2, LEADS_MAX_BODY=MAX_BODY) as (_, caller), \
            Held(f"http://{caller.address}", url) as held:
        schema = schemathesis.openapi.from_url(f"http://{caller.address}/openapi.json")
        schema.config.generation.update(allow_x00=False)
        operations = [found.ok() for found in schema.get_all_operations()]
        share = min(AT_ONCE, options.requests // len(operations) // 2 + 1)
        for number in range(options.seed, options.seed + options.requests):
            for operation in operations:
                for mode in GenerationMode:
                    asked(held, operation, mode, share, number, failures)
            if held.answers.total() >= options.requests:
                break
    stacks = (folder / "log").read_text().count("Traceback")
    report(held, failures, stacks, options.seed)
    sys.exit(bool(failures or stacks))


if __name__ == "__main__":
    main()
