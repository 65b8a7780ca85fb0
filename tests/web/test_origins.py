"""Without authentication, no page of another origin writes."""

import pytest

from leads_service import config
from leads_service.app import create_app
from leads_service.web.origins import FOREIGN_PAGE
from real.client import failed
from real.postgres import sql

ERP = "https://erp.example.com"
FOREIGN = [{"Origin": "https://evil.example.com"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
           {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": ""} | {"Sec-Fetch-Site": "x"},
           {"Origin": ERP, "Sec-Fetch-Site": "cross-site"}]


def writes(lead):
    return [("POST", "/leads/"), ("POST", f"/leads/{lead}/convert"), ("PUT", f"/leads/{lead}"),
            ("PATCH", f"/leads/{lead}"), ("DELETE", f"/leads/{lead}"), ("POST", "/leads/import")]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_page_writes_nothing(api, db_url, headers):
    lead = api.make()["id"]
    before = sql(db_url, "SELECT l::text FROM leads l")
    for method, path in writes(lead):
        for more in ({}, {"Content-Type": "text/plain"}):
            reply = api.call(method, path, headers=headers | more, raw="name\nx" if more else None)
            assert failed(reply, 403, "forbidden")["error"] == FOREIGN_PAGE
    assert sql(db_url, "SELECT l::text FROM leads l") == before
    assert sql(db_url, "SELECT count(*) FROM clients") == [(0,)]
    assert api.call("GET", "/leads/", headers=headers).status == 200


def test_the_service_s_own_pages_and_programs_write(api):
    own = {"Origin": f"http://{api.address}"}
    for headers in ({}, own, own | {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"},
                    {"Origin": "https://behind.example.com", "Sec-Fetch-Site": "same-origin"}):
        assert api.call("POST", "/leads/", {"name": "x"}, headers=headers).status == 201


@pytest.mark.parametrize(("more", "status"), [({"ALLOWED_ORIGINS": ERP}, 201), ({"LEADS_AUTH": "keys"}, 401)])
def test_an_allowed_origin_writes_and_callers_who_are_asked_need_no_such_rule(db_url, more, status):
    client = create_app(config.load({"DATABASE_URL": db_url} | more)).test_client()
    headers = {"Origin": ERP, "Sec-Fetch-Site": "cross-site"}
    assert client.post("/leads/", json={"name": "x"}, headers=headers).status_code == status
