"""Callers with keys, of each role and of two companies, without row security and with."""

import uuid

import pytest

from leads_service import config
from leads_service.access import keys, row_security
from leads_service.access.callers import ROLE_NAMES
from leads_service.app import create_app
from leads_service.database.acting import act_for_nobody
from real.postgres import as_role, drop_role, sql

OURS, THEIRS = (f"00000000-0000-4000-8000-0000000000d{number}" for number in (1, 2))


@pytest.fixture(params=["plain", "row security"])
def callers(request, own, db_url):
    """A function that asks with the key of a role, or of a role and a company."""
    environ, role = {"DATABASE_URL": db_url}, f"leads_role_{uuid.uuid4().hex[:8]}"
    if request.param == "row security":
        sql(db_url, f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
        row_security.enable(own, role)
        environ = {"DATABASE_URL": as_role(db_url, role), "LEADS_RLS": "1"}
    client = create_app(config.load(environ | {"LEADS_AUTH": "keys"})).test_client()
    sql(db_url, "INSERT INTO companies (id, name) VALUES (%s, 'Ours'), (%s, 'Theirs')", OURS, THEIRS)
    companies = {"": None, " ours": OURS, " theirs": THEIRS}
    secrets = {name + whose: keys.create(own, name + whose, name, company)
               for name in ROLE_NAMES for whose, company in companies.items()}

    def call(who, method, path, body=None):
        answer = client.open(path, method=method, json=body, headers={"X-API-Key": secrets[who]})
        return answer.status_code, answer.json
    yield call
    act_for_nobody()
    if request.param == "row security":
        row_security.disable(own)
        drop_role(db_url, role)
