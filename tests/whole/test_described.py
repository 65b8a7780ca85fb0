"""Requests made from the description, sound and broken: the service answers as it describes itself."""

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from leads_service import config
from leads_service.app import create_app

# Of an application that nobody asks anything: its routes are needed before there is a database.
described = json.loads(create_app(config.load({"DATABASE_URL": "postgresql:///none"})).extensions["leads_openapi"])
# To a description these are the search by another name; bench/fuzz.py asks them too.
OTHER_NAMES = ("leads_by_status", "leads_by_owner", "leads_by_source")
OPERATIONS = [(method.upper(), path) for path, item in described["paths"].items() for method, operation in item.items()
              if method != "parameters" and operation["operationId"] not in OTHER_NAMES]


@pytest.fixture(scope="module")
def held(running, migrated_url):
    # Imported here, because schemathesis takes seconds that no other test's process has to spend.
    from real.described import Held
    with Held(f"http://{running.address}", migrated_url) as made:
        yield made


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_it_answers_as_it_describes_itself(held, operation, broken):
    @settings(max_examples=8, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(held.cases(described, *operation, broken))
    def ask(case):
        held.ask(case)

    with contextlib.suppress(Unsatisfiable):  # an operation without parameters has nothing that could be broken
        ask()
