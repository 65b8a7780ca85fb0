"""Measures the service: requests over HTTP, and how their cost grows with the table.

    .venv/bin/pip install -r bench/requirements.txt     # and Debian's wrk
    .venv/bin/python bench/run.py [--rows 10000,100000,1000000] [--seconds 3] [--keep FOLDER] [--straight]
                                  [--sweep | --auth | --history]

For every size it fills a database (bench/fill.py) on a PostgreSQL of its own, starts gunicorn on a unix socket and an
nginx in front of it as deploy/ has them, and prints requests a second, latencies and processor time of each route under
load, then what single callers wait for lists and searches of many kinds, as multiples of `SELECT count(*) FROM leads`
in the same database. At the largest size it does so once more behind 50,000 new leads that match nothing asked for.
Everything goes to bench/results/ too, under today's date, with a chart. --straight has wrk ask gunicorn itself; --keep
uses a folder for the databases and leaves them there; --sweep measures gunicorn's workers and threads instead, --auth
what it costs to ask callers who they are, --history what it costs to keep every change.
"""

import argparse
import atexit
import datetime as dt
import itertools
import json
import os
import platform
import re
import secrets
import shutil
import statistics
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import jwt
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import fill
from bench.load import CONNECTIONS, Asker, counting, cpu_seconds, database_of, load, postmaster_of, routes, served, tidy
from leads_service.access import keys
from leads_service.config import VERSION
from leads_service.database import embedded
from leads_service.database.pool import Database
from real.postgres import sql

FRESH = 50_000
TERMS = ("m a w é 9 0 @ ß ma fr xq zw é! 06 33 ww q. .f an sar mar klein garage hel xqz éli 061 0612 06%2012 %2B3361 "
         "612345 0612345678 vasseur helene Élise séverine théo%20rivière allard allard%20sarl sœur soeur meunier.1 "
         "william.weber saint garage%20weber fleuriste%20noël%20sas violette zélie%20zimmermann exemple.fr @courriel "
         "-13.fr librairie boulangerie%20girard xqzwvk zzzzzz 0000000000 nobody@nowhere.example "
         "optique%20charpentier%20%26%20fils abcdefghijklmnopqrstuvwxyz1234 amina.allard.777@exemple.fr & sarl").split()
SORTS = ("-created_at", "created_at", "updated_at", "-updated_at", "name", "-name", "-interest_level", "interest_level",
         "next_step")
FILTERS = {
    "status": ("active", "converti"), "owner": (fill.OWNER, "personne"), "source": (fill.SOURCE, "radio", "aucune"),
    "stage": ("new", "won"), "segment": (fill.SEGMENT, "aucun"), "city": (fill.CITY, "Nulle-Part"),
    "company": ("Garage Weber SAS", "Inconnue"), "tag": ("vip", "absente"), "interest_level_min": ("50", "100"),
    "interest_level_max": ("50", "0"), "created_from": ("2025-06-01", "2090-01-01"),
    "created_to": ("2024-06-01", "2000-01-01")}
USUAL = ("status", "owner", "source", "stage")


class Report:
    """What is printed, kept as Markdown."""

    def __init__(self):
        self.lines = []

    def say(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def table(self, *rows):
        widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            self.say("| " + " | ".join(str(cell).rjust(width) for cell, width in zip(row, widths, strict=True)) + " |")
            if not number:
                self.say("|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
        self.say()


def under_load(report, url, postmaster, seconds, folder, behind_nginx):
    """The table of the routes under load; route → p50 in ms."""
    table, medians = [("route", "req/s", "p50 ms", "p99 ms", "ms CPU service", "ms CPU PostgreSQL", "refused")], {}
    with served(url, behind_nginx=behind_nginx) as (process, address):
        for name, (method, paths) in routes(url).items():
            load(address, method, paths, 1, folder)
            before = cpu_seconds(process), cpu_seconds(postmaster)
            count, rate, p50, p99, refused = load(address, method, paths, seconds, folder)
            spent = [1e3 * (now - then) / count
                     for now, then in zip((cpu_seconds(process), cpu_seconds(postmaster)), before, strict=True)]
            table.append((name, f"{rate:.0f}", f"{p50:.2f}", f"{p99:.1f}", *(f"{ms:.2f}" for ms in spent), refused))
            medians[name] = p50
        memory = [child.memory_full_info().uss / 2**20 for child in process.children()]
    report.table(*table)
    report.say(f"Memory of a worker: {max(memory):.0f} MiB that it shares with no other process.\n")
    return medians


def lists():
    """(kind, path) of every filter alone by every sort, and of every pair of filters by four."""
    singles = [[(name, value)] for name, values in FILTERS.items() for value in values]
    pairs = [[(one, a), (other, b)] for one, other in itertools.combinations(FILTERS, 2)
             for a in FILTERS[one][::len(FILTERS[one]) - 1] for b in FILTERS[other][::len(FILTERS[other]) - 1]]
    for pair in singles + pairs:
        for sort in SORTS if len(pair) == 1 else SORTS[::2]:
            kind = "pairs of filters" if len(pair) == 2 else "one filter"
            if len(pair) == 1 and sort == "-created_at" and pair[0][0] in USUAL:
                kind = "usual"
            yield kind, "/leads/?" + urllib.parse.urlencode([*pair, ("sort", sort), ("limit", 20)])


def searches():
    """(kind, path) of every term, without and with a filter."""
    for term in TERMS:
        term = urllib.parse.quote(urllib.parse.unquote(term))
        yield "search", f"/leads/search/{term}?limit=20"
        for more in (f"owner={fill.OWNER}", "city=Nulle-Part"):
            yield "search and filter", f"/leads/search/{term}?limit=20&{urllib.parse.quote(more, safe='=')}"


def growth(report, url, rows, count):
    """The table of what one caller waits for, as multiples of the ms that count(*) takes; kind → median ms."""
    size = sql(url, "SELECT pg_relation_size('leads'), pg_total_relation_size('leads')")[0]
    report.say(f"`SELECT count(*)`: {count:.1f} ms. Table and indexes: {size[1] / 2**20:.0f} MiB, "
               f"{size[1] / size[0]:.2f} × the heap.\n")
    found = {}
    with served(url) as (_, address):
        asker = Asker(address)
        for kind, path in (*lists(), *searches()):
            asker.ask(path)
            found.setdefault(kind, []).append((asker.median(path), path))
        found["first page"] = [(asker.median("/leads/?limit=100", 20), "/leads/?limit=100")]
        found["estimated count"] = [(asker.median("/leads/?limit=1&status=active&count=estimated", 20), "")]
        for by in ("stage", "owner", "month"):
            found[f"stats by {by}"] = [(asker.median(f"/leads/stats?by={by}"), "")]
        cursor = None
        while True:
            path = f"/leads/?limit=1000{f'&cursor={cursor}' if cursor else ''}"
            spent, page = asker.ask(path)
            found.setdefault("walk, first page of 1000", [(spent, "")])
            if not page["next_cursor"]:
                break
            found["walk, last full page of 1000"] = [(spent, "")]
            cursor = page["next_cursor"]
        deep = min(rows // 2, 500_000)
        found[f"offset={deep}"] = [(asker.median(f"/leads/?limit=100&offset={deep}"), "")]
        json_body = {"Content-Type": "application/json"}
        written = [[], []]
        for number in range(300):
            body = json.dumps({"name": "Lead", "email": f"c{number}@charge.example", "source": "charge"})
            spent, answer = asker.ask("/leads/", "POST", body, json_body)
            written[0].append(spent)
            written[1].append(asker.ask(f"/leads/{answer['data']['id']}", "PUT", '{"city":"Aubagne"}', json_body)[0])
        found["create"], found["update"] = ([(statistics.median(times), "")] for times in written)
    sql(url, "DELETE FROM leads WHERE source = 'charge'")
    found["all filters and terms"] = [pair for asked in found.values() for pair in asked if "limit=20" in pair[1]]
    table = [("asked", "how many", "median ms", "× count(*)", "p95 ms", "worst ms", "× count(*)")]
    for kind, asked in found.items():
        times = sorted(time for time, _ in asked)
        median, worst = statistics.median(times), times[-1]
        table.append((kind, len(times), f"{median:.2f}", f"{median / count:.2f}", f"{times[int(0.95 * len(times))]:.1f}"
                      if len(times) > 1 else "", f"{worst:.1f}", f"{worst / count:.1f}"))
    report.table(*table)
    slowest = sorted(found["all filters and terms"], reverse=True)[:5]
    report.say("Slowest: " + ", ".join(f"`{path}` {spent:.0f} ms" for spent, path in slowest) + "\n")
    return {kind: statistics.median(time for time, _ in asked) for kind, asked in found.items()}


def sweep(report, url, seconds, folder):
    """Workers × threads, in turns, so that a slow minute hits them all."""
    choices = [(workers, threads) for workers in (1, 2, 4) for threads in (2, 4, 8, 16)]
    asked = {name: asked for name, asked in routes(url).items() if name in ("one", "list20", "search20", "create")}
    rates = {(choice, name): [] for choice in choices for name in asked}
    for _ in range(3):
        for choice in choices:
            tidy(url)  # or every choice would search behind more new leads than the one before
            with served(url, WEB_CONCURRENCY=str(choice[0]), LEADS_THREADS=str(choice[1])) as (_, address):
                for name, (method, paths) in asked.items():
                    load(address, method, paths, 1, folder)
                    rates[choice, name].append(load(address, method, paths, seconds, folder)[1])
    rows = [(*choice, *(f"{statistics.median(rates[choice, name]):.0f}" for name in asked)) for choice in choices]
    report.table(("workers", "threads", *(f"{name} req/s" for name in asked)), *rows)


def authentication(report, url, seconds, folder):
    """What asking callers who they are costs, in turns."""
    secret = secrets.token_hex()
    token = jwt.encode({"app_metadata": {"role": "reader"}, "sub": "bench", "exp": time.time() + 3600}, secret)
    own = Database(None)
    own.configure(url, connections=1, recycle=3600, statement_timeout=0)
    credentials = {"none": token, "keys": keys.create(own, secrets.token_hex(), "reader", None), "jwt": token}
    own.close_all()
    asked = {name: asked for name, asked in routes(url).items() if name in ("one", "list20")}
    rates = {(way, name): [] for way in credentials for name in asked}
    for turn in range(6):
        # Each of them first, second and last as often.
        for way, credential in (2 * list(credentials.items()))[turn % 3:turn % 3 + 3]:
            environ = {"LEADS_AUTH": way} | ({"LEADS_JWT_SECRET": secret} if way == "jwt" else {})
            with served(url, **environ) as (_, address):
                for name, (method, paths) in asked.items():
                    load(address, method, paths, 1, folder, f"Bearer {credential}")
                    rates[way, name].append(load(address, method, paths, seconds, folder, f"Bearer {credential}")[1])
    found = {pair: statistics.median(each) for pair, each in rates.items()}
    report.table(("LEADS_AUTH", *(f"{name} req/s" for name in asked), *(f"{name} × none" for name in asked)),
                 *((way, *(f"{found[way, name]:.0f}" for name in asked),
                    *(f"{found[way, name] / found['none', name]:.2f}" for name in asked)) for way in credentials))


def history(report, url, seconds, folder):
    """Creates and updates with the history's triggers and without, in turns, and the bytes that a change takes."""
    triggers = [row[0] for row in sql(
        url, "SELECT tgname FROM pg_trigger WHERE tgrelid = 'leads'::regclass AND tgname LIKE 'trg_leads_keep_%'")]
    kept = "SELECT count(*), pg_total_relation_size('leads_history') FROM leads_history"
    asked = {name: asked for name, asked in routes(url).items() if name in ("create", "update")}
    rates = {(way, name): [] for way in ("ENABLE", "DISABLE") for name in asked}
    bytes_of = {name: [] for name in asked}
    with served(url) as (_, address):
        for (name, (method, paths)), turn in itertools.product(asked.items(), range(6)):
            for way in ("ENABLE", "DISABLE") if turn % 2 else ("DISABLE", "ENABLE"):
                for trigger in triggers:
                    sql(url, f"ALTER TABLE leads {way} TRIGGER {trigger}")
                before = sql(url, kept)[0]
                rates[way, name].append(load(address, method, paths, seconds, folder)[1])
                count, size = (now - then for now, then in zip(sql(url, kept)[0], before, strict=True))
                if count:
                    bytes_of[name].append(size / count)
    for trigger in triggers:
        sql(url, f"ALTER TABLE leads ENABLE TRIGGER {trigger}")
    found = {pair: statistics.median(each) for pair, each in rates.items()}
    report.table(("route", "req/s without history", "with", "× without", "bytes a change"), *(
        (name, f"{found['DISABLE', name]:.0f}", f"{found['ENABLE', name]:.0f}",
         f"{found['ENABLE', name] / found['DISABLE', name]:.2f}", f"{statistics.median(bytes_of[name]):.0f}")
        for name in asked))
    tidy(url)


def chart(medians, file):
    """Latency against rows, one line for each kind."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    for kind in ("one", "list20", "create", "update", "usual", "one filter", "pairs of filters", "search"):
        axes.plot(list(medians), [found[kind] for found in medians.values()], marker="o", label=kind)
    axes.set(xscale="log", yscale="log", xlabel="leads in the table", ylabel="median latency, ms",
             title=f"Latency against rows (one, list20: {CONNECTIONS} connections at once; the others: one caller)")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(ncols=2)
    figure.savefig(file)


def machine(url, straight):
    """One line about where the figures come from."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return (f"{model[1] if model else platform.processor()}, {len(os.sched_getaffinity(0))} cores, "
            f"{psutil.virtual_memory().total / 2**30:.0f} GiB; Python {platform.python_version()}, "
            f"PostgreSQL {sql(url, 'SHOW server_version')[0][0]} beside it with its default settings, "
            f"leads_service {VERSION}, {CONNECTIONS} connections by wrk {'to gunicorn' if straight else 'to nginx'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--straight", action="store_true")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--sweep", dest="instead", action="store_const", const=sweep)
    instead.add_argument("--auth", dest="instead", action="store_const", const=authentication)
    instead.add_argument("--history", dest="instead", action="store_const", const=history)
    arguments = parser.parse_args()
    report, medians, instead = Report(), {}, arguments.instead
    results = ROOT / "bench" / "results" / f"{dt.date.today()}{f'-{instead.__name__}' if instead else ''}"
    results.parent.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # before the server's own, and so called after it
    server = embedded.start((arguments.keep or folder / "data").resolve())
    report.say(f"# {dt.date.today()}\n\n{machine(server, arguments.straight)}.\n")
    for rows in map(int, arguments.rows.split(",")):
        url = database_of(server, rows)
        report.say(f"## {rows:,} leads\n")
        if instead:
            instead(report, url, arguments.seconds, folder)
            continue
        medians[rows] = under_load(report, url, postmaster_of(url), arguments.seconds, folder,
                                   not arguments.straight)
        tidy(url)
        count = counting(url)
        medians[rows] |= growth(report, url, rows, count)
    if not instead:
        report.say(f"## {rows:,} leads behind {FRESH:,} new ones that match nothing\n")
        sql(url, fill.FRESH_IMPORT, FRESH)
        # Multiples of what it took before, which is less: an index alone told of every lead whether it is there.
        report.say(f"`SELECT count(*)` takes {counting(url):.1f} ms now, the multiples are of the earlier.\n")
        growth(report, url, rows, count)
        tidy(url)
        chart(medians, results.with_suffix(".svg"))
    results.with_suffix(".md").write_text("\n".join(report.lines))


if __name__ == "__main__":
    main()
