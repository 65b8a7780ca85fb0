"""Requests made from the description, sound and broken: the service answers as it describes itself."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from leads_service import config
from leads_service.app import create_app
from real.described import Held

# Of an application that nobody asks anything: its routes are needed before there is a database.
described = create_app(config.load({"DATABASE_URL": "postgresql:///none"})).extensions["leads_openapi"]
schema = schemathesis.openapi.from_dict(json.loads(described))
schema.config.generation.update(allow_x00=False)  # U+0000 is refused everywhere, as words say
# To a description these are the search by another name; bench/fuzz.py asks them too.
schema = schema.exclude(operation_id=["leads_by_status", "leads_by_owner", "leads_by_source"])


@pytest.fixture(scope="module")
def held(running, migrated_url):
    with Held(f"http://{running.address}", migrated_url) as made:
        yield made


@schema.parametrize()
@settings(max_examples=10, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_it_answers_as_it_describes_itself(case, held):
    held.ask(case)
