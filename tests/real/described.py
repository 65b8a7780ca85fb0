"""The service held to its own description by schemathesis, and to three promises that no description can make.

A failure has the contract's envelope; a lead has all of its columns in order; a refused request changes no row.
"""

import collections
import contextlib
import json
import re
import uuid

import psycopg2
import requests
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.problems import PROBLEMS
from leads_service.transfer.files.formats import IMPORT_TYPES

load_all_checks()
TABLES = ("leads", "clients", "companies")
LEADS = [str(uuid.UUID(int=number, version=4)) for number in range(1, 21)]
MOST_ROWS = 300
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
# No JSON Schema tells a file of leads from another text, which files a page has, a lead's name, whether an item can be
# done, nor that a lead is one of those named beside it.
SHAPELESS = ("/leads/import", "/leads/bulk", "/leads/{lead_id}/merge", "/leads/{lead_id}/erase", "/docs/{file}",
             "/board/{file}")


@schemathesis.serializer(*sorted(set(IMPORT_TYPES) - {"application/json", "text/csv"}))
def as_it_comes(ctx, value):
    """A body of a type that schemathesis cannot write: bytes, or one line of JSON."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.check
def envelope(ctx, response, case):
    """A failure is the contract's: its sentence, its code and that code's status; every answer has an id."""
    assert response.headers.get("x-request-id"), "no X-Request-ID"
    if response.status_code < 400 or case.method == "HEAD":
        return
    body = response.json()
    assert (body["success"], body["data"]) == (False, None)
    assert body["error"]
    assert PROBLEMS[body["code"]].status == response.status_code
    assert isinstance(body["detail"], dict) if response.status_code == 422 else body["detail"] == body["error"]


@schemathesis.check
def columns(ctx, response, case):
    """A lead has all of its columns, in order; an activity may have keys that are called as they are."""
    if (response.status_code >= 400 or response.headers.get("content-type") != ["application/json"]
            or case.path.endswith("/activities")):
        return
    data = response.json().get("data")
    for row in data if isinstance(data, list) else [data]:
        if isinstance(row, dict) and {"id", "interest_level"} <= row.keys():
            assert tuple(row) == LEAD_COLUMNS


class Held:
    """The service at `address`, on the database `url`, whose answers are held to what was promised."""

    def __init__(self, address, url):
        self._address, self._session = address, requests.Session()
        self.answers = collections.Counter()  # (method and path, status) → how many
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        self._renew()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._session.close()
        self._connection.close()

    def cases(self, described, method, path, broken):
        """What makes requests for one operation of the description, sound or broken."""
        schema = schemathesis.openapi.from_dict(described)
        schema.config.generation.update(allow_x00=False)  # U+0000 is refused everywhere, as words say
        mode = GenerationMode.NEGATIVE if broken else GenerationMode.POSITIVE
        return schema[path][method].as_strategy(generation_mode=mode)

    def ask(self, case):
        """Send the case, count its answer and give it; raises schemathesis' FailureGroup."""
        excluded = make_sound(case)
        response = case.call(self._address, self._session)
        self.answers[case.operation.label, response.status_code] += 1
        try:
            case.validate_response(response, additional_checks=[envelope, columns, self._unchanged],
                                   excluded_checks=excluded)
        finally:
            if case.method not in SAFE_METHODS:
                self._renew()
        return response

    def ask_changed(self, label, request, path, body):
        """Send `request`, which was sent before, with another path and body, and count its answer as of `label`; it is
        held to what needs no description. Raises AssertionError."""
        changed = request.copy()
        changed.headers.pop("Idempotency-Key", None)  # it has been used, for the other body
        changed.prepare_url(f"{self._address}{path}", None)
        changed.prepare_body(body, None)
        response = self._session.send(changed)
        self.answers[label, response.status_code] += 1
        try:
            assert response.status_code < 500 or response.status_code in (503, 504), response.text
            envelope(None, response, changed)
            self._unchanged(None, response, changed)
        finally:
            if changed.method not in SAFE_METHODS:
                self._renew()

    def _unchanged(self, ctx, response, case):
        if case.method not in SAFE_METHODS and response.status_code >= 400:
            assert self._checksum() == self._before, "refused, and yet a row changed"

    def _renew(self):
        """The same leads, of no client, before every request that may change one, and not many more."""
        rows = self._sql("SELECT count(*) FROM leads")[0][0]
        if rows > MOST_ROWS:
            self._sql("DELETE FROM leads WHERE id <> ALL (%s::uuid[]) RETURNING 1", LEADS)
        self._sql("INSERT INTO leads (id, name, phone, city) SELECT id, 'Hélène', '+33612345678', 'Aix' "
                  "FROM unnest(%s::uuid[]) AS id ON CONFLICT (id) DO UPDATE SET client_id = NULL "
                  "WHERE leads.client_id IS NOT NULL RETURNING 1", LEADS)
        self._before = self._checksum()

    def _checksum(self):
        """A value that any changed, new or missing row changes."""
        return self._sql("SELECT " + ", ".join(
            f"(SELECT (count(*), sum(hashtextextended(t::text, 0)))::text FROM {table} t)" for table in TABLES))

    def _sql(self, statement, *parameters):
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall()


def make_sound(case):
    """Give the case what no description can: an id that is there, no cursor that nobody was given.

    Gives the checks that do not hold for it all the same.
    """
    positive = case.meta.generation.mode == GenerationMode.POSITIVE
    if (case.path_parameters or {}).get("lead_id") in ("owner", "search", "source", "status"):
        case.path_parameters["lead_id"] += "s"  # /leads/source/activities is another operation
    with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError):
        number = uuid.UUID(case.path_parameters["lead_id"]).int
        if number % 4:
            case.path_parameters["lead_id"] = LEADS[number % len(LEADS)]
    if positive and case.query:
        case.query.pop("cursor", None)
        case.query.pop("after", None)
        if case.query.get("sort") == "relevance":
            case.query["sort"] = "name"
        for name in {"created_from", "created_to"} & case.query.keys():
            case.query[name] = re.sub("^(0001|9999)", "2025", case.query[name])  # in UTC the year before or after
    if positive and case.headers:
        # No description tells the lead's ETag, nor which keys were used.
        case.headers.pop("If-Match", None)
        case.headers.pop("If-None-Match", None)
        if "Idempotency-Key" in case.headers:
            case.headers["Idempotency-Key"] = uuid.uuid4().hex
    for name in ("interest_level", "to"):
        if positive and isinstance(case.body, dict) and isinstance(case.body.get(name), float):
            case.body[name] = int(case.body[name])  # to JSON Schema 69.0 is an integer
    if positive and isinstance(case.body, dict) and case.body.get("email"):
        # JSON Schema's format knows no bound of an address's labels, and none of domains that mail never reaches.
        case.body["email"] = f"{uuid.uuid4().hex}@example.com"
    shapeless = case.operation.path in SHAPELESS
    return CHECKS.get_by_names(["positive_data_acceptance", "negative_data_rejection"]) if shapeless else []
