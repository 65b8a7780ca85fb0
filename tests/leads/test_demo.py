"""The demo: leads to try the service with, and a past that the figures know."""

import datetime as dt

import pytest

from leads_service.database.acting import act_for_nobody, act_for_operator
from leads_service.leads.figures.demo import LEADS, make_demo
from real.postgres import empty, sql

NAMES = "SELECT name, email, stage, owner, notes ->> 'next_step_note' FROM leads ORDER BY email"


@pytest.fixture
def operator(app):
    act_for_operator()
    yield
    act_for_nobody()


def test_the_demo(operator, api, db_url):
    assert make_demo()
    made = sql(db_url, NAMES)
    assert not make_demo()
    assert sql(db_url, NAMES) == made
    assert len(made) == LEADS

    now = dt.datetime.now(dt.UTC)
    data = api.get("/leads/stats?by=stage").data
    assert len(data["values"]) == 6
    assert data["whole"]["days_in_stage"]["left_out"] == 0
    assert 0 < data["whole"]["converted"] == data["whole"]["days_to_convert"]["counted"]
    assert dt.timedelta(days=60) < now - dt.datetime.fromisoformat(data["history_from"]) < dt.timedelta(days=80)
    for part in ("overdue", "today", "week", "later", "none"):
        assert api.get(f"/leads/?next_step={part}&count=exact").json["total"] > 10
    lead = api.get("/leads/?stage=won&limit=1").data[0]
    history = api.get(f"/leads/{lead['id']}/history").data
    assert {each["by"] for each in history} == {"operator"}
    assert history[0]["at"][:19] == lead["updated_at"][:19]
    assert history[-1]["at"] == lead["created_at"] < history[0]["at"]
    assert api.call("PATCH", f"/leads/{lead['id']}", lead).status == 200  # they are as the API takes them

    empty(db_url)
    assert make_demo()
    assert [row[:4] for row in sql(db_url, NAMES)] == [row[:4] for row in made]
