"""The service on the PostgreSQL of Debian 12, which has less than the embedded one; skipped where there is none."""

import subprocess
from pathlib import Path

import pytest

from leads_service import config
from leads_service.app import create_app
from leads_service.database import embedded
from leads_service.database.pool import database
from real.migrations import apply_all
from real.postgres import cluster

OLDER = sorted(Path("/usr/lib/postgresql").glob("1[456]/bin"))
pytestmark = pytest.mark.skipif(not OLDER, reason="No PostgreSQL 14 to 16 is installed (Debian's package postgresql)")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The service's, on such a server of its own."""
    pgdata = cluster(tmp_path_factory.mktemp("older"), OLDER[-1]) / "pg"

    def server(*what):
        subprocess.run([OLDER[-1] / "pg_ctl", "-D", pgdata, "-w", *what], check=True, stdout=subprocess.DEVNULL,
                       **embedded._account(pgdata))

    server("-o", f"-k {pgdata} -c listen_addresses= -c fsync=off", "-l", pgdata / "log", "start")
    try:
        url = f"postgresql://postgres@/postgres?host={pgdata}"
        apply_all(url)
        yield create_app(config.load({"DATABASE_URL": url})).test_client()
    finally:
        database.close_all()
        server("-m", "immediate", "stop")


def test_a_lead_s_life(client):
    notes = {"next_step_date": "2025-11-01", "text": "devis " * 20_000}
    lead = client.post("/leads/", json={"name": "Zoé", "notes": notes}).json["data"]
    assert client.patch(f"/leads/{lead['id']}", json={"city": "Aix"}).json["data"]["city"] == "Aix"
    assert client.patch(f"/leads/{lead['id']}", json={"notes": notes | {"text": "vu"}}).status_code == 200
    listed = client.get("/leads/?next_step=overdue&sort=next_step&q=zo").json["data"]
    assert [each["city"] for each in listed] == ["Aix"]
    assert client.delete(f"/leads/{lead['id']}").status_code == 200
    assert client.post(f"/leads/{lead['id']}/restore").json["data"]["notes"]["text"] == "vu"
    changes = client.get(f"/leads/{lead['id']}/history").json["data"]
    assert [(each["op"], [*each["fields"]]) for each in changes[2:4]] == [("update", ["notes"]), ("update", ["city"])]


def test_twins_become_one_and_two_again(client):
    ids = [client.post("/leads/", json={"name": "Yves", "tags": [tag]}).json["data"]["id"] for tag in "ab"]
    merge = client.post(f"/leads/{ids[0]}/merge", json={"others": ids[1:]}).json["data"]
    assert merge["lead"]["tags"] == ["a", "b"]
    back = client.post(f"/leads/merges/{merge['merge_id']}/undo").json["data"]["leads"]
    assert [each["tags"] for each in back] == [["a"], ["b"]]
    assert client.get("/leads/stats?by=stage").json["data"]["whole"]["count"] == 3
