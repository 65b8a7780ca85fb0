"""Throw requests made from its own description, sound and broken, at a real service.

    .venv/bin/python -m bench.fuzz [--requests 100000] [--seed 1]

Several at once, each with a seed of its own, share the work.

It starts a PostgreSQL and a gunicorn with two workers, both thrown away at the end, and asks every operation of
/openapi.json with values that fit the description and with values that do not; each request is sent again a few times
with a piece of it replaced. Each answer is held to the description, where that says something of it, and to the
promises of tests/real/described.py: there must be no 5xx, no undocumented answer, no failure outside the envelope, no
lead without a column, no row changed by a refused request, and no stack in the log. Prints a line each 1000 requests,
and each kind of failure with an example when it is first met; at the end, early too (SIGINT, SIGTERM), the answers by
operation and status, and how often each kind was met. Exit status 0 when there was none.
"""

import argparse
import atexit
import collections
import contextlib
import itertools
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from urllib.parse import quote

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
AT_ONCE = 50  # examples that hypothesis is asked for at one time
CHANGED = 4  # times that a request is sent again with a piece of its address or body replaced
HOSTILE = (
    "", "\0", "%00", "'", '"', "\\", "%", "_", "&", "=", "/", "..", "-1", "1e999", "NaN", "9" * 400, "null", "true",
    "[]", "{}", "[" * 3000, '{"a":' * 3000, "\ufeff", "\u202e", "İ", "ß", "ﬃ", "e" + "\u0301" * 300, "\ud83d",
    "\\ud800", "\r\n", "\x1f", "\x85", " " * 3000, "x" * 3000, "1970-01-01T00:00:00+99:99", "=cmd|' /C calc'!A0", "id",
    "items", "cursor", "atomic")
EACH = 1000  # requests, of which a line tells


def asked(held, operation, mode, examples, number, failures):
    """Ask the operation `examples` times, each CHANGED times more; `failures` counts by operation and title."""
    dice = random.Random(number)

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case):
        response = None
        try:
            response = held.ask(case)
        except FailureGroup as group:
            for failure in group.exceptions:
                tell(failures, operation.label, failure.title, f"{failure.message}\n  {case.as_curl_command()}")
        for _ in range(CHANGED if response else 0):
            request, label = response.request, f"{operation.label} changed"
            path, body = request.path_url, request.body
            if body and dice.random() < 0.7:
                body = replaced(body, dice)
            else:
                path = quote(replaced(path.encode(), dice), safe="/?&=%")
            try:
                held.ask_changed(label, request, path, body)
            except AssertionError as failure:
                tell(failures, label, str(failure).split("\n")[0], f"{request.method} {path}\n  {body!r}")

    with contextlib.suppress(Unsatisfiable):  # an operation without parameters has nothing that could be broken
        ask()


def replaced(raw, dice):
    """The bytes with a piece replaced by something hostile, or by a piece of their own; the first one stays."""
    first, last = sorted(dice.choices(range(1, len(raw) + 1), k=2))
    last = min(last, first + dice.choice((0, 1, 5, 50)))
    piece = raw[-last:] if dice.random() < 0.2 else dice.choice(HOSTILE).encode(errors="surrogatepass")
    return raw[:first] + piece + raw[last:]


def tell(failures, label, title, example):
    """Count a failure, and print the first of its kind."""
    failures[label, title] += 1
    if failures[label, title] == 1:
        print(f"\n{label}: {title}\n  {example}\n", flush=True)


def ask_all(held, operations, options, failures):
    """Ask all operations in turns, until there were as many requests as wanted."""
    share = min(AT_ONCE, options.requests // len(operations) // 2 // (1 + CHANGED) + 1)
    begun, told = time.monotonic(), 0
    for turn in itertools.count():
        for operation, mode in itertools.product(operations, GenerationMode):
            asked(held, operation, mode, share, f"{options.seed} {turn}", failures)
            done = held.answers.total()
            if done // EACH > told // EACH:
                told = done
                print(f"{done} requests, {done / (time.monotonic() - begun):.0f} a second, {failures.total()} failures",
                      flush=True)
            if done >= options.requests:
                return


def report(held, failures, stacks, number):
    """Print what was answered, and what was wrong with it."""
    statuses = sorted({status for _, status in held.answers})
    print(f"\n{'':34}" + "".join(f"{status:>7}" for status in statuses))
    for label in sorted({label for label, _ in held.answers}):
        print(f"{label:34}" + "".join(f"{held.answers[label, status] or '':>7}" for status in statuses))
    print(f"{held.answers.total()} requests (seed {number}), {len(failures)} kinds of failure, "
          f"{stacks} stacks in the log")
    for (label, title), count in failures.items():
        print(f"{count} x {label}: {title}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--requests", type=int, default=20_000)
    arguments.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # before the server's own, and so called after it
    for number in signal.SIGINT, signal.SIGTERM:  # hypothesis takes SystemExit for a failure of what it runs
        signal.signal(number, signal.default_int_handler)
    apply_all(url := server(folder / "data"))
    failures = collections.Counter()
    with service(folder / "log", DATABASE_URL=url, WEB_CONCURRENCY=2, LEADS_MAX_BODY=MAX_BODY) as (_, caller), \
            Held(f"http://{caller.address}", url) as held:
        schema = schemathesis.openapi.from_url(f"http://{caller.address}/openapi.json")
        schema.config.generation.update(allow_x00=False)
        operations = [found.ok() for found in schema.get_all_operations()]
        with contextlib.suppress(KeyboardInterrupt):
            ask_all(held, operations, options, failures)
    stacks = (folder / "log").read_text().count("Traceback")
    report(held, failures, stacks, options.seed)
    sys.exit(bool(failures or stacks))


if __name__ == "__main__":
    main()
