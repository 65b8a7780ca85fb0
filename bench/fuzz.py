"""Throw generated requests, sound and broken, at a real service.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r bench/requirements.txt
    /tmp/bench/bin/python bench/fuzz.py [--requests 20000] [--seed 1]

There must be no 5xx, no stack in the log, no answer outside the contract's envelope, no row changed by a refused
request. It starts an embedded PostgreSQL and a gunicorn with two workers, both thrown away at the end. Half of the
requests come from schemathesis and the service's own /openapi.json: every operation, with values that fit its
description and with values that do not; the answers are held against the description too. The other half are bytes on
a socket, put together and damaged by hypothesis. Prints the answers by route and status, then each kind of failure
with an example. Exit status 0 when there was none.
"""

import argparse
import atexit
import collections
import contextlib
import http.client
import json
import random
import re
import shutil
import socket
import sys
import tempfile
import urllib.parse
import uuid
import warnings
from pathlib import Path

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from requests.structures import CaseInsensitiveDict
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.lists import Cursor, Listing, Selection
from leads_service.contract.problems import PROBLEMS
from leads_service.database import embedded, migrator
from real.postgres import connected, sql
from real.service import service

MAX_BODY = 50_000
TABLES = ("leads", "clients", "companies")
MOST_ROWS = 300
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
OWN_SHAPE = ("/health", "/metrics", "/docs", "/openapi.json", "/leads/export")


class Answer:
    """What came back, whichever client asked."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class Judge:
    """Counts answers, and what is wrong with them."""

    def __init__(self, url):
        self.url = url
        self.answers = collections.Counter()
        self.failures = collections.defaultdict(list)
        self.sent = set()
        self.renew_rows()

    def is_new(self, request):
        """Whether these bytes, or this command, were not sent before: hypothesis repeats itself."""
        known = len(self.sent)
        self.sent.add(hash(request))
        return len(self.sent) > known

    def renew_rows(self):
        """Few rows, half of them as requests made them."""
        sql(self.url, "INSERT INTO companies (name) SELECT 'Company' WHERE NOT EXISTS (SELECT FROM companies)")
        for table in ("leads", "clients"):
            sql(self.url, f"DELETE FROM {table} WHERE id NOT IN (SELECT id FROM {table} ORDER BY random() LIMIT 50)")
        sql(self.url, "INSERT INTO clients (name) SELECT 'Client' FROM generate_series(1, 3)")
        sql(self.url, "INSERT INTO leads (name, email, phone, city) SELECT 'Hélène ' || n, random() || '@example.com', "
                      "'+3361234567' || n, 'Aix' FROM generate_series(1, 20) AS n")
        self.remember()

    def remember(self):
        """Look at the rows as they are; a refused request must leave them so."""
        self.state = self.checksum()
        self.ids = [row[0] for table in ("leads", "leads", "leads", "clients", "companies")
                    for row in sql(self.url, f"SELECT id::text FROM {table} LIMIT 20")]

    def checksum(self):
        """A value that any changed, new or missing row changes."""
        return sql(self.url, "SELECT " + ", ".join(
            f"(SELECT (count(*), sum(hashtextextended(t::text, 0)))::text FROM {table} t)" for table in TABLES))

    def fail(self, route, method, wrong, answer, sent):
        self.failures[f"{method} {route}: {wrong}"].append((sent, answer.status, answer.body[:300]))

    def __call__(self, route, method, answer, sent):
        self.answers[route, method, answer.status] += 1
        wrong = fault(route, method, answer)
        if wrong:
            self.fail(route, method, wrong, answer, sent)
        if method in SAFE_METHODS:
            return
        changed = self.checksum() != self.state
        if changed and answer.status >= 400:
            self.fail(route, method, f"{answer.status}, and yet a row changed", answer, sent)
        if changed:
            self.remember()
            if sql(self.url, "SELECT count(*) FROM leads")[0][0] > MOST_ROWS:
                self.renew_rows()


def fault(route, method, answer):
    """What is wrong with the answer, in a few words; None when nothing is."""
    status, kind = answer.status, answer.headers.get("Content-Type")
    if status >= 500:
        return f"a {status}"
    if not answer.headers.get("X-Request-ID"):
        return "no X-Request-ID"
    if method == "HEAD":
        return "a body" if answer.body else None
    if status in (204, 304) or (status < 400 and (method == "OPTIONS" or route.startswith(OWN_SHAPE))):
        return None
    if kind != "application/json":
        return f"a {status} of type {kind}"
    try:
        body = json.loads(answer.body)
    except ValueError:
        return f"a {status} that is not JSON"
    return success_fault(body) if status < 400 else failure_fault(status, body)


def success_fault(body):
    if body.get("success") is not True or "data" not in body:
        return "a success outside the envelope"
    data = body["data"]
    rows = data if isinstance(data, list) else [data] if "interest_level" in data else []
    if any(tuple(row) != LEAD_COLUMNS for row in rows):
        return "a lead without all of its columns in order"
    if isinstance(data, list) and not (body["count"] == len(data) and "next_cursor" in body):
        return "a list without its count"
    return None


def failure_fault(status, body):
    if (body.get("success"), body.get("data", 1)) != (False, None) or not body.get("error"):
        return f"a {status} outside the envelope"
    if body.get("code") not in PROBLEMS or PROBLEMS[body["code"]].status != status:
        return f"a {status} with the code {body.get('code')}"
    if isinstance(body["detail"], dict) != (status == 422) or (status != 422 and body["detail"] != body["error"]):
        return f"a {status} whose detail is {body['detail']!r}"
    return None


def generating(examples, number):
    """Hypothesis' settings: this many examples, the same ones for the same number."""
    def decorate(test):
        return seed(number)(settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
                                     suppress_health_check=list(HealthCheck))(test))
    return decorate


# From the description.

def described(judge, address, examples, number):
    """`examples` requests for every operation of /openapi.json, once with values that fit and once with others."""
    load_all_checks()
    schema = schemathesis.openapi.from_url(f"http://{address}/openapi.json")
    with requests.Session() as session:
        for found in schema.get_all_operations():
            for mode in GenerationMode:
                # An operation without parameters has nothing that could be broken.
                with contextlib.suppress(Unsatisfiable):
                    generating(examples, number)(asking(judge, f"http://{address}", session, found.ok(), mode))()


def asking(judge, base, session, operation, mode):
    """A hypothesis test that sends a request of the operation."""
    checks = CHECKS.get_by_names(["status_code_conformance", "content_type_conformance", "response_schema_conformance"])
    route, method = operation.path, operation.method.upper()

    @given(operation.as_strategy(generation_mode=mode), st.integers(0, 2**32))
    def ask(case, choice):
        if choice % 4 and "lead_id" in (case.path_parameters or {}):
            case.path_parameters["lead_id"] = judge.ids[choice % len(judge.ids)]
        sent = case.as_curl_command()
        if not judge.is_new(sent):
            return
        reply = case.call(base_url=base, session=session)
        headers = CaseInsensitiveDict((name, values[0]) for name, values in reply.headers.items())
        answer = Answer(reply.status_code, headers, reply.content)
        judge(route, method, answer, sent)
        try:
            case.validate_response(reply, checks=checks)
        except FailureGroup as group:
            for failure in group.exceptions:
                judge.fail(route, method, f"{failure.title}: {failure.message}", answer, sent)

    return ask


# Bytes on a socket.

ODD = ["", " ", "\x00", "%", "%zz", "%00", "%c0%af", "%ff", "..", "../x", "//", "\\", "'", '"', ";", "\u2028", "é",
       "ﷺ", "😀", "İ", "ß", "ﬁ", "\u0301" * 50, "\r\n", "\t", "\udc80", "a" * 300, "9" * 30, "-1", "1.9", "1e999",
       "NaN", "true", "[]", "{}", "٣", "1_000", "2025-13-01", "0001-01-01T00:00:00+23:59",
       "9999-12-31T23:59:59-23:59", "2025-10-31T08:00:00Z", "Perdu", "won", "{a}", "%s", "$1", "*", "+33612345678",
       "00000000-0000-0000-0000-000000000000", "{" + "a" * 32 + "}", "é@é.fr", "x@" + "a" * 260 + ".fr", "=1+1"]
OPERATIONS = [
    *[("POST", "/leads/"), ("PUT", "/leads/{lead_id}"), ("PATCH", "/leads/{lead_id}"), ("DELETE", "/leads/{lead_id}"),
      ("POST", "/leads/{lead_id}/convert"), ("POST", "/leads/import"), ("GET", "/leads/")] * 4,
    *[("GET", route) for route in (
        "/", "/health", "/health/ready", "/metrics", "/docs", "/docs/{file}", "/openapi.json", "/leads/{lead_id}",
        "/leads/export", "/leads/search/{q}", "/leads/status/{status}", "/leads/owner/{owner}",
        "/leads/source/{source}", "/{unknown}")]]
PARAMETERS = ["limit", "offset", "cursor", "status", "owner", "source", "stage", "segment", "city", "company", "tag",
              "q", "interest_level_min", "interest_level_max", "created_from", "created_to", "sort", "count",
              "format", "on_conflict", "dry_run", "x", "", "limit[]"]
SORTS = ["created_at", "-created_at", "name", "name", "-name", "interest_level"]
FIELDS = [*LEAD_COLUMNS, "interestLevel", "clientId", "companyId", "createdAt", "x", ""]
HEADINGS = [*FIELDS, "Entreprise", "Téléphone", "Statut", "next_step_date"]
ODD_METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW", "get", "GE",
               "PÖST", "GET\x00", "PRI"]
ODD_HEADERS = [
    "Content-Type: text/csv", "Content-Type: application/x-ndjson", "Content-Type: text/plain", "Content-Type: é",
    "Content-Type: application/json; charset=latin-1", "Content-Encoding: gzip", "Content-Length: -1",
    "Content-Length: " + "9" * 30, "Content-Length: 1e3", "Content-Length: ²", "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity", "Expect: 100-continue", "Expect: x", "Host: é",
    "Host: a b", "Host: [::1", "Host: " + "x" * 300, "Host:", "Accept-Language: é;q=x, en;q=2",
    "Accept-Language: " + "*" * 500, "Range: bytes=5-1", "Range: bytes=0-10", "Range: é", 'If-None-Match: "x',
    "If-Modified-Since: never", "If-Range: x", "X-Request-ID: a b", "X-Request-ID: " + "x" * 70,
    "X-Forwarded-Proto: javascript", "X-Forwarded-For: '", "Cookie: a=é; =;", "Authorization: Basic é",
    "Connection: upgrade, HTTP2-Settings", "Upgrade: h2c", "Upgrade: websocket", "HTTP2-Settings: AAA", "Origin: null",
    "Access-Control-Request-Method: é", "Access-Control-Request-Headers: " + "x" * 500, "X-HTTP-Method-Override: PUT",
    "Bad Name: x", "Under_Score: x", ": x", "no colon", "X: " + "x" * 9000, "X: a\r\n b", "Accept: é", "Trailer: x",
    "SCRIPT_NAME: /x", "SCRIPT-NAME: /x", "PATH-INFO: /x", "\r\n".join(f"X-{number}: x" for number in range(110))]

odd = st.sampled_from(ODD) | st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | odd | st.sampled_from([2**63, 10**400, 1e308, 5e-324]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd, inner, max_size=3), max_leaves=6)
# What is sound in most fields is not in some; together a body is accepted now and then.
sound = st.sampled_from([None, "", "Zoé", "Perdu", "zoe@example.com", "ZOE@EXAMPLE.COM", "06 12 34 56 78", 0, 50, {},
                         [], ["vip"], {"a": 1}, [{"a": 1}], "new"]) | st.emails() | st.uuids().map(str)
fields = st.dictionaries(st.sampled_from(FIELDS), sound | sound | values, max_size=4)
leads = fields | fields.map(lambda given: {"name": "Zoé"} | given) | st.builds(dict, name=odd)
csv = st.builds(lambda headings, rows, comma: "\n".join(comma.join(row) for row in [headings, *rows]),
                st.lists(st.sampled_from(HEADINGS), min_size=1, max_size=5),
                st.lists(st.lists(odd, min_size=1, max_size=5), max_size=4), st.sampled_from([",", ";", "\t"]))


def encoded(text):
    return urllib.parse.quote(text.encode("utf-8", "surrogatepass"), safe="/")


@st.composite
def forged_cursors(draw):
    """(sort, a cursor of the unfiltered list sorted so, with other keys)."""
    sort = draw(st.sampled_from(SORTS))
    listing = Listing(Selection((), None), sort.lstrip("-"), sort.startswith("-"), 100, 0, None, "none")
    keys = draw(st.lists(values, max_size=3) | st.tuples(values | odd, st.just(str(uuid.UUID(int=0)))))
    return sort, Cursor(listing.identity, keys).encode()


@st.composite
def targets(draw, route, judge):
    """A path with a query string, mostly encoded as they should be."""
    encode = draw(st.sampled_from([encoded] * 3 + [str]))
    pairs = draw(st.lists(st.tuples(st.sampled_from(PARAMETERS), odd | st.integers(0, 200).map(str)), max_size=3))
    if route == "/leads/" and draw(st.booleans()):
        pairs = list(zip(("sort", "cursor"), draw(forged_cursors()), strict=True))
    query = draw(st.sampled_from("&&&;")).join(f"{name}={encode(value)}" for name, value in pairs)
    piece = judge.ids[draw(st.integers(0, 999)) % len(judge.ids)] if draw(st.integers(0, 3)) else encode(draw(odd))
    path = re.sub("{.*}", lambda _: piece, route)
    if draw(st.integers(0, 40)) == 0:
        path = draw(st.sampled_from(["*", "http://x/leads", "leads", "//", "?", "#", "x:1"]))
    return path + ("?" + query if query else "")


@st.composite
def bodies(draw):
    """The bytes of a body: JSON, CSV or anything, a quarter of them damaged."""
    kind = draw(st.sampled_from(["lead"] * 9 + ["value", "csv", "ndjson", "bytes", "none", "deep", "large"]))
    if kind == "none":
        return b""
    if kind == "deep":
        return draw(st.sampled_from([b"[", b'{"a":', b'{"notes":['])) * draw(st.integers(1, 8000))
    if kind == "large":
        return b'{"name":"%b"}' % (b"x" * draw(st.sampled_from([250, 260, MAX_BODY - 11, MAX_BODY - 10, MAX_BODY * 3])))
    if kind == "bytes":
        return draw(st.binary(max_size=60))
    if kind == "csv":
        text = draw(csv)
    elif kind == "ndjson":
        text = "\n".join(map(json.dumps, draw(st.lists(leads | values, max_size=3))))
    else:
        text = json.dumps(draw(leads if kind == "lead" else values), ensure_ascii=draw(st.booleans()))
    raw = text.encode("utf-8", "surrogatepass")
    if raw and draw(st.integers(0, 3)) == 0:
        at, damage = draw(st.integers(0, len(raw) - 1)), [b"", b"\\ud800", b"\xff", b"\\u0000", b'"', b"NaN", b"1e999"]
        raw = raw[:at] + draw(st.binary(max_size=3) | st.sampled_from(damage)) + raw[at + draw(st.integers(0, 3)):]
    return raw


@st.composite
def chunks(draw, raw):
    """`raw` in chunks, or in what only looks like chunks."""
    half = len(raw) // 2
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (raw[:half], raw[half:]) if part) + b"0\r\n\r\n"
    return draw(st.sampled_from([framed] * 3 + [
        b"zz\r\n" + framed, b"-1\r\n" + framed, b"f" * 17 + b"\r\n" + framed, framed[:-7],
        framed[:-2] + b"X: y\r\n\r\n",
        framed.replace(b"\r\n", b"", 2), framed.replace(b"\r\n", b";a=\x00\r\n", 1)]))


@st.composite
def wire(draw, judge):
    """(route, method, the bytes of a request)."""
    method, route = draw(st.sampled_from(OPERATIONS))
    target = draw(targets(route, judge))
    body = b"" if method in ("GET", "DELETE") else draw(bodies())
    headers = ["Host: 127.0.0.1", "Content-Type: application/json", "Origin: https://erp.example.com"]
    # Most requests have few faults, so that some pass the first checks.
    if draw(st.integers(0, 7)) == 0:
        method = draw(st.sampled_from(ODD_METHODS))
    if draw(st.integers(0, 3)) == 0:
        headers.append(draw(st.sampled_from(ODD_HEADERS)))
    if draw(st.integers(0, 9)) == 0:
        headers.append("Transfer-Encoding: chunked")
        body = draw(chunks(body))
    elif body:
        headers.append(f"Content-Length: {len(body) + draw(st.sampled_from([0] * 20 + [1, -1]))}")
    version = draw(st.sampled_from(["HTTP/1.1"] * 99 + ["HTTP/1.0", "HTTP/2.0", "HTTP/9", "http/1.1", ""]))
    head = "\r\n".join([f"{method} {target} {version}", *headers, "", ""])
    return route, method, head.encode("utf-8", "surrogatepass") + body


def spoken(address, request, method):
    """The answer to these bytes; None when the connection ended without one."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        with contextlib.suppress(OSError):  # refused before all of it was sent
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection, method=method)
        try:
            response.begin()
            return Answer(response.status, response.headers, response.read())
        except (ConnectionError, http.client.BadStatusLine):
            return None


def damaged(judge, address, examples, number):
    """`examples` requests of bytes."""
    @generating(examples, number)
    @given(wire(judge))
    def ask(drawn):
        route, method, request = drawn
        if not judge.is_new(request):
            return
        answer = spoken(address, request, method)
        if answer:
            judge(route, method, answer, request[:600])
        else:
            judge.answers[route, method, "none"] += 1

    ask()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--requests", type=int, default=20_000)
    arguments.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # before the server's own, and so called after it
    url = embedded.start(folder / "data")
    with connected(url) as own:
        list(migrator.up(own))
    with service(folder / "log", DATABASE_URL=url, WEB_CONCURRENCY=2, LEADS_MAX_BODY=MAX_BODY,
                 ALLOWED_ORIGINS="https://erp.example.com") as (_, caller):
        judge = Judge(url)
        operations = sum(map(len, caller.get("/openapi.json").json["paths"].values()))
        described(judge, caller.address, options.requests // operations // 4 + 1, options.seed)
        while (done := judge.answers.total()) < options.requests:
            damaged(judge, caller.address, 2000, options.seed + done)
    stacks = (folder / "log").read_text().count("Traceback")
    report(judge, options.seed, stacks)
    sys.exit(bool(judge.failures or stacks))


def report(judge, number, stacks):
    statuses = sorted({status for _, _, status in judge.answers}, key=str)
    print(f"{'':34}" + "".join(f"{status!s:>7}" for status in statuses))
    for route, method in sorted({key[:2] for key in judge.answers}):
        counts = [judge.answers[route, method, status] or "" for status in statuses]
        print(f"{route:26}{method.encode('unicode_escape').decode():8}" + "".join(f"{count!s:>7}" for count in counts))
    print(f"{judge.answers.total()} requests (seed {number}), {len(judge.failures)} kinds of failure, "
          f"{stacks} stacks in the log")
    for what, cases in judge.failures.items():
        sent, status, body = cases[0]
        print(f"\n{len(cases)} x {what}\n  sent: {sent!r}\n  answered: {status} {body!r}")


if __name__ == "__main__":
    main()
