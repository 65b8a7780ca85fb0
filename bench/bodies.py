"""What the dearest requests cost: bodies of 10 MB to import, and small requests at 100,000 leads.

    .venv/bin/python bench/bodies.py [--only 'NAME;NAME'] [--rows 100000] [--runs 3] [--row-security]

It makes a PostgreSQL of its own and a service of one worker; each body meets a fresh worker and an empty table. First
table: the body, its status (504: stopped, with what was done said) and the line to go on from, seconds on the clock,
the worker's processor seconds and memory at most. Second: the request, its status, seconds on the clock, processor
seconds of worker and PostgreSQL; from search/large on, they are of leads as large as they may be. It is asked in so
many --runs, each of a PostgreSQL of its own, and the run that took least processor time is told, since what else
the machine does makes every other longer. Exit status 1: a body took over 15 s or 300 MB, a request over 0.5 s, or a
route was not asked. With --row-security only the second one, asked by a role that row security holds.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import re
import string
import sys
import time
import urllib.parse
import uuid
from pathlib import Path

import psutil

from clients import postgres
from fill import statement as filled
from leads_service.access import keys, row_security
from leads_service.app import create_app
from leads_service.config import load
from leads_service.leads.record import COLUMNS
from leads_service.transfer.files.formats import ON_CONFLICT
from real.postgres import as_role, connected, indexes_afterwards, sql
from real.service import service
from real.workbooks import workbook

SIZE = 10_000_000
FULL = ("Société;Prénom;Nom;Téléphone;Email;Statut;Créé le;Intérêt;Tags;Adresse;Ville;Source;Notes\n",
        "Garage du Port {n};Hélène;Martin {n};06 {n:08};helene.martin{n}@example.com;Nouveau;31/10/2025 14:30;80 %;vip,"
        " salon;{n} rue de la République;Aix-en-Provence;salon;Vu au salon, à rappeler au printemps, devis demandé\n")
SHORT = ("name,phone,email,city\n", "Hélène Martin-Delacroix {n},06 {n:08},helene.martin{n}@example-ici.com,Fuveau\n")


def fill(head, line, tail=""):
    """`head`, `line` as often as fits and `tail`."""
    return (head + line * ((SIZE - len(head) - len(tail)) // len(line.encode())) + tail).encode()


def listed(head, line, count, first=0):
    return head + "".join(line.format(n=number) for number in range(first, first + count))


def packed(row, part=None, name=None, most=10**9, size=SIZE):
    """A workbook of `size` bytes: as many rows, or elements of the part, within one of the name, as fit; `most` of
    them."""
    def made(times):
        if not part:
            return workbook(row, times)
        return workbook("<row/>", **{part: f"<{name}>{''.join(row.format(n=each) for each in range(times))}</{name}>"})
    return made(min(most, int(100_000 * 0.98 * size / len(made(100_000)))))


BODIES = {  # behind a ? stands the query
    "40,000 full leads": lambda: listed(*FULL, 40_000), "100,000 leads": lambda: listed(*SHORT, 100_000),
    "cells that are no e-mail": lambda: fill("email,name\n", "x,y\n"),
    "rows of too few cells": lambda: fill("email,name\n", "x\n"), "a letter a line": lambda: fill("name\n", "x\n"),
    "a letter a line?dry_run=true": lambda: fill("name\n", "x\n"), "blank lines": lambda: fill("name\n", "\n"),
    "odd phones": lambda: fill("name,phone\n", "A,31  -12 3--12 -112 6 6 0336 26 0012 12 6 0+49 16 23220+1 -03\n"),
    **{f"one e-mail?on_conflict={how}": lambda: fill("name,email\n", "x,a@b.fr\n") for how in ON_CONFLICT},
    "NDJSON {}": lambda: fill("", "{}\n"), "NDJSON 1": lambda: fill("{}\n", "1\n"),
    "array of {}": lambda: fill("[", "{},", "{}]"), "array of 1": lambda: fill("[", "1,", "1]"),
    "one item of {}": lambda: fill('[{"name":"x","activities":[', "{},", "{}]}]"),
    "activities of {}": lambda: fill("name,activities\n", 'x,"[' + "{}," * 20_000 + '{}]"\n'),
    "90,000 keys a row": lambda: "".join(listed('{"a":1', ',"{n:x}":1', 90_000, 90_000 * n) + "}\n" for n in range(11)),
    "200,000 headings": lambda: listed("name", ",{n:x}", 199_999) + "\nx" + "," * 199_999,
    "2000 empty cells a row": lambda: fill("name" + "," * 1999 + "\n", "x" + "," * 1999 + "\n"),
    "2000 cells a row": lambda: fill(listed("name", ",c{n}", 1999) + "\n", "x" + ",1" * 1999 + "\n"),
    "tags": lambda: fill("name,tags\nx,", "a;", "\n"), "a long text": lambda: fill("name,address\nx,😀", "a", "\n"),
    "an item of a long text": lambda: fill('[{"name":"x","address":"😀', "a", '"}]'),
    "an open quote": lambda: fill('name,city\n"', "ab\n"), "broken quotes": lambda: fill("name,city\n", 'a"b,"\n'),
    "a heading without an end": lambda: fill('"name', "x", "\n"), "keys": lambda: fill('{"a":1', ',"":1', "}"),
    "workbook, a number a row": lambda: packed('<row><c><v>{n}</v></c></row>'),
    "workbook, rows of nothing": lambda: packed('<row r="{n}"/>'),
    # Nearly as dense as a part may be: 400 MB of XML.
    "workbook, dense, a letter a row": lambda: packed('<row><c t="str"><v>x</v></c></row>' * 8 + "<!--{n}-->",
                                                      most=1_400_000),
    "workbook, dense, rows of nothing": lambda: packed("<row/>" * 40 + "<!--{n}-->", most=1_600_000),
    "workbook, the last column": lambda: packed('<row><c r="XFD1"><v>{n}</v></c></row>'),
    "workbook, texts": lambda: packed("<si><t>{n}</t></si>", "sharedStrings", "sst"),
    "workbook, styles": lambda: packed('<xf numFmtId="{n}"/>', "styles", "cellXfs", 680_000)}
CHANGED, REBORN = (str(uuid.UUID(int=number)) for number in (1, 2))
LARGE = [str(uuid.UUID(int=1000 + number)) for number in range(1000)]  # the first 250 of them have changed
WHAT_BECAME = "history?limit=1000", "dossier", "dossier#page"  # behind a #: as a page for people
REQUESTS = [("GET", f"/leads/{path}", None) for path in (
    "?limit=1000", "?offset=99000&limit=1000", "?count=exact&sort=name", "?" + "tag=vip&" * 999, "?q=a&sort=relevance",
    "?sort=-interest_level&interest_level_max=0", "?owner=Alice&stage=won&tag=vip&sort=updated_at", "?q=" + "a%20" * 60,
    *(f"search/{urllib.parse.quote(term)}?count=exact" for term in ("a", "xq", "0", "06", "_", "é!", "zz  zz")),
    *(f"{one}?count=exact&limit=1000" for one in ("status/actif", "source/web", "owner/Alice")),
    *(f"stats?by={by}" for by in ("stage&q=06", "owner&interest_level_min=0", "month&tag=vip")))] + [
    ("POST", "/leads/", json.dumps({"name": "A"} | more)) for more in (
        {"phone": "1 2 3 4 5 " * 19}, {"notes": {"a": [5e-324] * 999}}, {"activities": [{}] * 2000},
        {str(number): 1 for number in range(900)}, {"email": "a." * 60 + "@b.fr"})] + [
    ("GET", f"/leads/{path}", None) for path in (
        "changes?after={cursor}&limit=1000", "deleted?limit=1000",
        *(f"{lead}/{what}" for lead in (CHANGED, REBORN) for what in WHAT_BECAME))] + [
    ("POST", "/leads/import", body) for body in (
        "email,name\n" + "x,y\n" * 2450, "name\n" + "x\n" * 4900, listed("name\n", "{n}\n", 2000),
        "name\n" + "".join(f"{a}{b}\n" for a, b in itertools.product(string.ascii_letters, string.printable[:64])),
        "name" + ",a" * 4900,
        "name,email\n" + "x,a@b.fr\n" * 1000, listed("name,email\n", "x,{n}@b.fr\n", 700),
        'name,city\n"' + "a\n" * 4900, "{}\n" * 3300, packed("<row><c><v>{n}</v></c></row>", size=10_000))] + [
    ("GET", f"/leads/{path}", None) for path in (
        "search/large?limit=1000", "?sort=next_step&limit=1000", "?next_step=later&limit=1000",
        "changes?after={large}&limit=1000", "changes?after={won}&limit=1000&stage=won",
        "stages?id=" + "&id=".join(LARGE[:100]), "erased?limit=1000",
        *(f"{LARGE[0]}/{what}" for what in WHAT_BECAME),
        *(f"{lead}{what}" for lead in LARGE[::333] for what in ("", "/duplicates", "/activities")))] + [
    *(("POST", f"/leads/import?on_conflict=update{more}", listed("name,email\n", "y,{n}@l.fr\n", 900))
      for more in ("&dry_run=true", "")),
    *(("POST", f"/leads/import?on_conflict=update{more}", listed("name,email,notes\n", line, count, first))
      for more in ("&dry_run=true", "") for line, count, first in (
          ('y,{n}@l.fr,"{{""z"":1}}"\n', 280, 600), ('y,{n}@m.fr,"{{""z"":1}}"\n', 400, 0))),
    ("POST", "/leads/import?on_conflict=update", "id,name,notes\n" + "".join(
        f'{lead},y,"{{""q"":1}}"\n' for lead in LARGE[700:850])),
    ("POST", "/leads/import?on_conflict=update", listed("name,email,tags\n", "y,{n}@l.fr,z\n", 500, 500)),
    *(("POST", f"/leads/{LARGE[900]}/merge", json.dumps({"others": LARGE[901:end]})) for end in (920, 909)),
    ("POST", "/leads/merges/{merge}/undo", "{}"),
    *(("POST", f"/leads/{lead}/erase", json.dumps({"reason": "x", "confirm": name, "dry_run": True}))
      for lead, name in ((CHANGED, "x"), (LARGE[0], "y"))),
    *(("POST", "/leads/bulk", json.dumps({"items": [{"op": "update", "id": lead, "data": data} for lead in some]}))
      for data, some in (({"notes": {}}, LARGE[:100]), ({"name": "z"}, LARGE[890:]))),
    ("POST", "/leads/bulk", json.dumps({"items": [{"op": "delete", "id": lead} for lead in LARGE[100:250]]})),
    ("GET", "/leads/deleted?limit=1000", None), ("POST", f"/leads/{LARGE[100]}/restore", "{}"),
    *(("GET", f"/leads/duplicates?q={term}", None) for term in ("abx", "large")),
    *((method, f"/leads/{lead}{what}", body) for lead in LARGE[::333] for method, what, body in (
        ("PATCH", "", '{"name": "z"}'), ("PUT", "", '{"tags": ["z"]}'), ("POST", "/activities", '{"type": "call"}'),
        ("POST", f"/duplicates/{LARGE[500]}/dismiss", "{}"), ("POST", "/convert", "{}"), ("DELETE", "", None)))]


def spent(process):
    """Seconds of a processor that the process and its children, ended ones too, have used."""
    return sum(process.cpu_times()[:4]) + sum(sum(child.cpu_times()[:2]) for child in process.children())


def asked(address, method, path, body, *processes, headers=None):
    """(status, JSON, seconds on the clock, processor seconds of each of the processes)."""
    path, _, page = path.partition("#")
    headers = {"Content-Type": "application/json"} | (headers or {}) | ({"Accept": "text/html"} if page else {})
    body = body.encode() if isinstance(body, str) else body
    before, begun = [*map(spent, processes)], time.monotonic()
    with contextlib.closing(http.client.HTTPConnection(address, timeout=120)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        found = response.read()
    wall = time.monotonic() - begun
    used = [spent(each) - then for each, then in zip(processes, before, strict=True)]
    return response.status, page or json.loads(found), wall, *used


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=lambda names: names.split(";"), default=[*BODIES, "small"])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--row-security", action="store_true")
    options, right = parser.parse_args(), True
    bodies = [name for name in BODIES if name in options.only and not options.row_security]
    with postgres() if bodies else contextlib.nullcontext((None, None)) as (server, folder):
        print(f"{'body':34}{'status':>8}{'line':>9}{'wall s':>8}{'worker s':>10}{'MB':>6}")
        for name in bodies:
            sql(server.url, "TRUNCATE leads CASCADE")
            with service(folder / "log", DATABASE_URL=server.url, WEB_CONCURRENCY=1) as (process, caller):
                worker, path = *psutil.Process(process.pid).children(), f"/leads/import?{name.partition('?')[2]}"
                status, found, wall, used = asked(caller.address, "POST", path, BODIES[name](), worker)
                memory = int(Path(f"/proc/{worker.pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
            right &= used <= 15 and memory <= 300
            print(f"{name:34}{status:8}{found.get('line', ''):>9}{wall:8.1f}{used:10.1f}{memory:6.0f}", flush=True)
    if "small" in options.only:
        for route in unasked():
            print(f"not asked: {route}", flush=True)
            right = False
        runs = [small(options.rows, options.row_security) for _ in range(options.runs)]
        print(f"\n{'request':70}{'status':>7}{'wall s':>8}{'worker s':>10}{'PostgreSQL s':>14}")
        for (method, path, body), *found in zip(REQUESTS, *runs, strict=True):
            status, wall, *used = min(found, key=lambda each: each[2] + each[3])
            path = path if len(path) < 41 else f"{path[:20]}…{path[-19:]}"
            print(f"{f'{method} {path} {str(body)[:20]!r}':70}{status:7}{wall:8.2f}{used[0]:10.2f}{used[1]:14.2f}")
            right &= sum(used) <= 0.5
    return 0 if right else 1


def unasked():
    """The routes of leads that none of REQUESTS asks; an export apart, which costs as much as its file is long."""
    urls = create_app(load({"DATABASE_URL": "postgresql://"})).url_map
    match = urls.bind("").match
    asked = {(match(re.split("[?#]", path)[0], method)[0], method) for method, path, _ in REQUESTS}
    return [f"{method} {rule}" for rule in urls.iter_rules() for method in sorted(rule.methods - {"HEAD", "OPTIONS"})
            if rule.rule.startswith("/leads") and rule.rule != "/leads/export" and (rule.endpoint, method) not in asked]


# A lead of many changes, one of many lives, and as many leads as there are deleted and back again.
PAST = f"""
    DO $$BEGIN INSERT INTO leads (id, name) VALUES ('{CHANGED}', 'x'), ('{REBORN}', 'x');
    FOR n IN 1..10000 LOOP UPDATE leads SET interest_level = n % 99 WHERE id = '{CHANGED}'; END LOOP;
    FOR n IN 1..1000 LOOP DELETE FROM leads WHERE id = '{REBORN}';
        INSERT INTO leads (id, name) VALUES ('{REBORN}', 'x'); END LOOP; END$$;
    CREATE TEMP TABLE back ON COMMIT DROP AS TABLE leads; DELETE FROM leads;
    INSERT INTO leads ({COLUMNS}) SELECT {COLUMNS} FROM back"""

# Leads as large as they may be: of as many texts as they can hold, that have been changed; of numbers, which are longer
# in text than as they are stored; then of as many keys, which take PostgreSQL longest to unpack. And 400 that are as
# large as an import of 10 kB has room for; and some whose names are of many words, all like each other.
AT_BOUND = f"""
    INSERT INTO leads (id, name, email, company, notes)
        SELECT id, 'large', n - 1 || '@l.fr', 'Acme' || n / 19, '{{"next_step_date": "2100-01-01"}}' || CASE
            WHEN n <= 250 THEN jsonb_build_object('a', array_fill('a'::text, ARRAY[50000])) WHEN n <= 500
            THEN jsonb_build_object('a', array_fill(1e308, ARRAY[830])) ELSE keys END
        FROM (SELECT json_object_agg(k, k)::jsonb AS keys FROM generate_series(1, 16000) AS k) AS made,
        unnest('{{{",".join(LARGE)}}}'::uuid[]) WITH ORDINALITY AS large (id, n);
    INSERT INTO leads (name, email, notes) SELECT 'middling', n || '@m.fr', keys
        FROM (SELECT json_object_agg(k, k)::jsonb AS keys FROM generate_series(1, 800) AS k) AS made,
        generate_series(0, 399) AS n;
    UPDATE leads SET notes = notes || '{{"b": 0}}' WHERE id = ANY ('{{{",".join(LARGE[:250])}}}');
    DO $$BEGIN FOR n IN 1..70 LOOP
        UPDATE leads SET notes = notes || jsonb_build_object('b', n) WHERE id = '{LARGE[0]}'; END LOOP; END$$;
    INSERT INTO leads (name, company)
        SELECT (SELECT string_agg('ab' || substr('xy', 1 + n * m % 2, 1), ' ') FROM generate_series(1, 63) AS m),
        'Corp' || n / 19 FROM generate_series(1, 152) AS n"""


@contextlib.contextmanager
def served(rows, secured):
    """The leads that REQUESTS are about, served by one worker: yields the worker, the postmaster, the address, headers
    of a caller who may do all of it, and cursors of the feed by name."""
    with postgres() as (server, folder):
        with indexes_afterwards(server.url):
            sql(server.url, filled(1, rows))
        with service(folder / "log", DATABASE_URL=server.url) as (_, caller):
            cursors = {"cursor": caller.get("/leads/changes").json["next_cursor"]}
            sql(server.url, PAST)
            for name, query in ("large", ""), ("won", "?stage=won"):
                cursors[name] = caller.get(f"/leads/changes{query}").json["next_cursor"]
            sql(server.url, AT_BOUND)
        sql(server.url, "VACUUM ANALYZE leads, leads_history")
        environ, headers = {"DATABASE_URL": server.url}, {}
        if secured:
            sql(server.url, "CREATE ROLE serving LOGIN PASSWORD 'serving'")
            with connected(server.url) as own:
                row_security.enable(own, "serving")
                headers = {"X-API-Key": keys.create(own, "bench", "admin", None)}
            environ = {"DATABASE_URL": as_role(server.url, "serving"), "LEADS_AUTH": "keys", "LEADS_RLS": 1}
        with service(folder / "log", WEB_CONCURRENCY=1, **environ) as (process, caller):
            worker, = psutil.Process(process.pid).children()
            yield worker, psutil.Process(server.process.pid), caller.address, headers, cursors


def small(rows, secured):
    """A run of REQUESTS: the status of each, seconds on the clock, processor seconds of worker and PostgreSQL."""
    with served(rows, secured) as (worker, postmaster, address, headers, cursors):
        asked(address, "GET", "/leads/", None, worker, headers=headers)
        run = []
        for method, path, body in REQUESTS:
            status, found, wall, *used = asked(address, method, path.format(**cursors), body, worker, postmaster,
                                               headers=headers)
            if path.endswith("/merge") and status == 200:
                cursors["merge"] = found["data"]["merge_id"]
            run.append((status, wall, *used))
        return run


if __name__ == "__main__":
    sys.exit(main())
