"""From one machine with the PostgreSQL that comes along into the cluster, by the lines of docs/cluster.md; and those of
deploy/cluster/pgbackrest.cron, each as cron runs it."""

import re
import time

from bench.cluster.building import ROOT, SERVICES, ask
from bench.cluster.machines import until

HOME, RIGHT = "/var/lib/leads", "/var/lib/leads/right.ndjson"
PAGE = (ROOT / "docs" / "cluster.md").read_text()
STEP = re.search(r"\n\*\*3\. .+?```bash\n(.+?)```", PAGE, re.DOTALL)[1]


def run(cluster):
    """step 3 of docs/cluster.md, from the PostgreSQL that comes along, and cron's lines"""
    one = cluster["app1"]
    for name in SERVICES:
        cluster[name].stop("leads")
    cluster.psql(cluster.primary(), "DROP DATABASE leads WITH (FORCE)", "CREATE DATABASE leads OWNER leads")
    settings = one.run("cat", "/etc/leads.env")
    one.put("/etc/leads.env", "", "leads", "600")  # it knows nothing of a cluster yet
    _serve(cluster)
    _flask(one, "leads demo")
    key = re.search(r"leads_[\w-]+", _flask(one, "leads key create someone --role reader"))[0]
    _flask(one, f"leads export --format ndjson > {RIGHT}")
    one.stop("nginx")  # nobody writes
    begun = time.monotonic()
    one.run("bash", "-euc", STEP.replace("leads:…@", f"leads:{cluster.password}@"), user="leads", directory=HOME,
            PATH="/usr/bin:/bin", LANG="C.UTF-8")
    one.put("/etc/leads.env", settings, "leads", "600")
    one.stop("leads")
    one.start("nginx")
    _serve(cluster)
    print(f"    moved in {time.monotonic() - begun:.1f} s", flush=True)
    said = cluster.flask("app1", "verify", RIGHT, check=False).strip().replace("\n", "; ")
    status, _ = ask(f"http://{cluster['front'].address}/api/leads/", headers={"Authorization": f"Bearer {key}"})
    print(f"    flask leads verify: {said}; a key of before is answered {status} through the front", flush=True)
    for line in (ROOT / "deploy/cluster/pgbackrest.cron").read_text().splitlines():
        if not line.startswith("#"):
            *_, user, command = line.split(maxsplit=6)
            begun = time.monotonic()
            cluster["watch"].run("sh", "-c", command, user=user, directory="/var/lib/postgresql", PATH="/usr/bin:/bin")
            print(f"    {command}, as {user}: {time.monotonic() - begun:.1f} s", flush=True)
    return status == 200 and "missing: 0; different fields: none" in said


def _serve(cluster):
    cluster.start_unit("app1", "leads")
    until(lambda: ask(f"http://{cluster['app1'].address}/api/health/ready")[0] == 200, "app1 answers")


def _flask(machine, words):
    """`flask WORDS` with the data of the PostgreSQL that comes along."""
    return machine.run("sh", "-c", f".venv/bin/flask {words}", user="leads", directory="/srv/leads",
                       LEADS_DATA_DIR=HOME, LANG="C.UTF-8")
