"""Back to the second before a wrong import, as docs/cluster.md tells it, and whether what is there then is right."""

import time

from bench import fill
from bench.cluster.building import DATABASES, SERVICES, ask
from bench.cluster.faults import DATA
from bench.cluster.machines import until

PG_CTL = "/usr/lib/postgresql/15/bin/pg_ctl"
LEADS = 50_000


def run(cluster):
    """a wrong import, and the way back to the second before"""
    primary = cluster.primary()
    cluster.psql(primary, "\\c leads", fill.statement(1, LEADS))
    _timed("a full backup", lambda: cluster["watch"].run("pgbackrest", "--stanza=leads", "--type=full", "backup",
                                                         user="postgres"))
    _import(cluster, "name,email,city\n" + "".join(f"Later {n},later{n}@exemple.fr,Aix\n" for n in range(500)))
    cluster.flask("app1", "export", "--format", "ndjson", output="/var/lib/leads/right.ndjson")
    time.sleep(1)
    moment = cluster.psql(primary, "SELECT now()").strip()
    time.sleep(1)
    # The wrong one: whoever had an e-mail gets another name and city.
    _import(cluster, "email,name,city\n" + "".join(
        f"{email},Nobody,Nowhere\n" for email in cluster.psql(
            primary, "\\c leads", "SELECT email FROM leads WHERE email IS NOT NULL LIMIT 20000").split()))
    wrong = cluster.psql(primary, "\\c leads", "SELECT count(*) FROM leads WHERE name = 'Nobody'").strip()
    print(f"    {LEADS + 500} leads, of which an import made {wrong} wrong; back to {moment}")
    begun = time.monotonic()
    _timed("service and Patroni stopped", lambda: _stop(cluster, primary))
    _timed("pgbackrest restore", lambda: cluster[primary].run(
        "pgbackrest", "--stanza=leads", "--delta", "--type=time", f"--target={moment}", "--target-action=promote",
        "restore", user="postgres"))
    _timed("the log replayed", lambda: _replay(cluster, primary))
    _timed("Patroni and the service started", lambda: _start(cluster, primary))
    print(f"    served again {time.monotonic() - begun:.1f} s after the decision")
    _timed("the standbys made anew", lambda: _follow(cluster, primary))
    said = cluster.flask("app1", "verify", "/var/lib/leads/right.ndjson", check=False)
    wrong = cluster.psql(cluster.primary(), "\\c leads", "SELECT count(*) FROM leads WHERE name = 'Nobody'").strip()
    print("    flask leads verify: " + said.strip().replace("\n", "; "))
    print(f"    {wrong} leads are wrong")
    _timed("the next backup", lambda: cluster["watch"].run("pgbackrest", "--stanza=leads", "backup", user="postgres"))
    return wrong == "0" and "missing: 0; different fields: none" in said.replace("\n", "; ")


def _timed(what, work):
    begun = time.monotonic()
    work()
    print(f"    {what}: {time.monotonic() - begun:.1f} s", flush=True)


def _import(cluster, text):
    cluster["app1"].put("/var/lib/leads/list.csv", text, "leads")
    print("    flask leads import: " + cluster.flask("app1", "import", "/var/lib/leads/list.csv", "--on-conflict",
                                                     "update").strip().splitlines()[-1])


def _stop(cluster, primary):
    for name in SERVICES:
        cluster[name].stop("leads")
    for name in (*(name for name in DATABASES if name != primary), primary):
        cluster[name].stop("patroni")


def _replay(cluster, primary):
    cluster[primary].run(PG_CTL, "-D", DATA, "-w", "-t", "3600", "-l", "/tmp/replay.log", "start", user="postgres")
    until(lambda: cluster.psql(primary, "SELECT pg_is_in_recovery()").strip() == "f", "the moment is reached", 600)
    cluster[primary].run(PG_CTL, "-D", DATA, "-w", "stop", user="postgres")


def _start(cluster, primary):
    # Patroni remembers how far the primary was, and would have nobody be primary who is behind that.
    cluster[primary].run("sh", "-c", "printf 'leads\\nYes I am aware\\n' | "
                                     "patronictl -c /etc/patroni/config.yml remove leads", user="postgres")
    cluster[primary].start("patroni")
    until(lambda: cluster.primary() == primary, "the primary")
    for name in SERVICES:
        cluster.start_unit(name, "leads")
    until(lambda: ask(f"http://{cluster['front'].address}/api/health/ready")[0] == 200, "the front answers")


def _follow(cluster, primary):
    for name in DATABASES:
        if name != primary:
            cluster[name].start("patroni")
            until(lambda name=name: ask(f"http://{cluster[name].address}:8008/liveness")[0] == 200, "Patroni")
            cluster.patronictl("reinit", "leads", name, "--force")
    until(cluster.whole, "a whole cluster", 300)
