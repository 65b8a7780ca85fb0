"""A deploy without a stop: a version with another field and its migration, one service machine after the other."""

import collections
import re
import shutil
import time

from bench.cluster.building import CODE, ROOT, SERVICES, ask
from bench.cluster.callers import Crowd, there
from bench.cluster.machines import until

# The next version: leads have a `referrer`, as docs/house.md tells to add a field.
NEXT = {
    "leads_service/config.py": {'VERSION = "': 'VERSION = "next-'},
    "leads_service/database/tables.py": {
        "    segment = CharField(100, null=True)\n":
            "    segment = CharField(100, null=True)\n    referrer = CharField(100, null=True)\n"},
    "leads_service/contract/lead.py": {
        "    segment = Text(100, allow_none=True)\n":
            "    segment = Text(100, allow_none=True)\n    referrer = Text(100, allow_none=True)\n",
        '"segment", "client_id"': '"segment", "referrer", "client_id"',
        '"segment", "activities"': '"segment", "referrer", "activities"'},
}
MIGRATION = '''"""Who sent a lead here."""

from migrations.ddl import make, unmake

atomic = False


def up(migrator, db):
    make(db, "column", "referrer", "ALTER TABLE leads ADD COLUMN referrer VARCHAR(100)", "leads")
    db.execute_sql("SET lock_timeout = 0")
    make(db, "index", "idx_leads_referrer", "CREATE INDEX CONCURRENTLY idx_leads_referrer ON leads (referrer)")


def down(migrator, db):
    unmake(db, "index", "idx_leads_referrer")
    unmake(db, "column", "referrer", "leads")
'''


def _next_version(folder):
    for part in CODE:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    for file, changes in NEXT.items():
        text = (folder / file).read_text()
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        (folder / file).write_text(text)
    last = max(int(path.name[:4]) for path in (folder / "migrations").glob("0*.py"))
    (folder / "migrations" / f"{last + 1:04}_referrer.py").write_text(MIGRATION)
    return folder


def _front(cluster, name, state):
    cluster.haproxy(f"set server leads/{name} state {state}")


def _busy(cluster, name):
    said = cluster.haproxy("show stat leads")
    [row] = [line.split(",") for line in said.splitlines() if line.startswith(f"leads,{name},")]
    return int(row[4])  # scur: requests under way


def run(cluster):
    """a new version and its migration on one service machine after the other, under writers and readers"""
    folder = cluster.folder / "next"
    folder.mkdir()
    _next_version(folder)
    until(cluster.whole, "a whole cluster")
    with Crowd(cluster) as crowd:
        time.sleep(3)
        since = time.monotonic()
        cluster.lay_code("app1", folder, "/srv/leads-next")
        said = cluster.flask("app1", "migrate", code="/srv/leads-next")
        print("    migrated: " + re.sub(r"\s+", " ", said.strip())[-80:])
        time.sleep(3)  # the old version on the new schema
        for name in SERVICES:
            if name != "app1":
                cluster.lay_code(name, folder, "/srv/leads-next")
            _front(cluster, name, "drain")
            until(lambda name=name: not _busy(cluster, name), "its last request's end")
            cluster[name].run("sh", "-c", "mv /srv/leads /srv/leads-before && mv /srv/leads-next /srv/leads")
            cluster[name].stop("leads")
            cluster.start_unit(name, "leads")
            until(lambda name=name: "next-" in _ready(cluster, name), "the new version")
            _front(cluster, name, "ready")
            time.sleep(3)  # both versions at once; at the end, the new one alone
        took = time.monotonic() - since
    answers = crowd.answers(since)
    refused = collections.Counter(f"{answer.method} {answer.status} {answer.code}" for answer in answers
                                  if answer.status not in (200, 201))
    lost = crowd.lost(there(cluster))
    slowest = max(answer.answered - answer.asked for answer in answers)
    _, made = crowd.writers[0].ask("POST", "/leads/", {"name": "Referred", "referrer": "Radio"})
    print(f"    {took:.0f} s, {len(answers)} requests, not served: {dict(refused)}; the slowest took {slowest:.2f} s\n"
          f"    {len(lost)} acknowledged writes lost, {len(crowd.went_back(lost))} reads went back; the new field: "
          f"{made['data'].get('referrer')}", flush=True)
    return not refused and not lost and made["data"].get("referrer") == "Radio"


def _ready(cluster, name):
    return ask(f"http://{cluster[name].address}/api/health/ready")[1]
