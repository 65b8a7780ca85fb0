"""deploy/cluster/: each program's own checker takes its file as an operator leaves it. bench/cluster runs them."""

import json
import os
import re
import shutil
import subprocess

import pytest

from real.nginx import MAIN
from real.service import ROOT, deployed

FOLDER = ROOT / "deploy" / "cluster"
PATH = os.environ.get("PATH", "") + ":/usr/sbin"
NAMES = r"\b(db[123]|app[12]|front|watch)(?=:\d)"


def check(program, *words, status=0):
    """What the program says, whose exit status must be that."""
    found = shutil.which(program, path=PATH)
    if not found:
        pytest.skip(f"the {program} program is not installed")
    done = subprocess.run([found, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def here(text):
    """The text with this machine in the place of the others, whose names nobody knows here."""
    return re.sub(NAMES, "127.0.0.1", text)


def test_haproxy_accepts_its_file(tmp_path):
    text = here(deployed("cluster/haproxy.cfg", {"/etc/haproxy/errors": str(FOLDER)}))
    check("haproxy", "-c", "-f", written(tmp_path, "haproxy.cfg", text))


def test_the_fronts_failure_is_the_services():
    head, _, body = (FOLDER / "leads.http").read_bytes().partition(b"\r\n\r\n")
    assert json.loads(body)["error"] in (ROOT / "deploy" / "nginx.conf").read_text()
    assert b"\r\nRetry-After: 1\r\n" in head


def test_prometheus_accepts_its_files(tmp_path):
    check("promtool", "check", "rules", FOLDER / "rules.yml")
    (tmp_path / "rules.yml").write_text((FOLDER / "rules.yml").read_text())
    key = written(tmp_path, "leads.key", "leads_x")
    text = deployed("cluster/prometheus.yml", {"/etc/prometheus/leads.key": str(key)})
    check("promtool", "check", "config", written(tmp_path, "prometheus.yml", text))


def test_every_alert_is_told():
    rules = re.findall(r"- alert: (\w+)", (FOLDER / "rules.yml").read_text())
    told = (ROOT / "docs" / "watching.md").read_text().partition("## Alerts")[2].partition("## Log")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", told)) == set(rules)


def test_alertmanager_accepts_its_file():
    check("amtool", "check-config", FOLDER / "alertmanager.yml")


def test_patroni_accepts_its_file(tmp_path):
    text = deployed("cluster/patroni.yml", {
        "scope: leads\n": "scope: leads\nname: db1\n",  # patroni.env
        "listen: 0.0.0.0:8008\n": "listen: 127.0.0.1:8008\n  connect_address: db1:8008\n",
        "listen: 0.0.0.0:5432\n": "listen: 127.0.0.1:5432\n  connect_address: db1:5432\n",
        "/var/lib/postgresql/15/leads": f"{tmp_path}/new"})
    said = check("patroni", "--validate-config", written(tmp_path, "patroni.yml", text), status=1)
    # It asks for what need not be there: a bootstrap.pg_hba beside postgresql.pg_hba, an etcd that answers, PostgreSQL.
    rest = [line for line in said.splitlines()
            if not line.startswith(("bootstrap.pg_hba ", "etcd.hosts ", "postgresql.bin_dir "))]
    assert rest == []


def test_nginx_accepts_the_metrics_beside_the_site(tmp_path):
    # nginx tries its addresses, too, and 80 is not everybody's.
    text = deployed("nginx.conf", {"/var/log/nginx/": f"{tmp_path}/", "listen 80 ": f"listen unix:{tmp_path}/site "})
    text += deployed("cluster/metrics.conf", {"listen 8001;": f"listen unix:{tmp_path}/metrics;"})
    written(tmp_path, "site.conf", text)
    check("nginx", "-t", "-p", tmp_path, "-c", written(tmp_path, "main.conf", MAIN), "-e", tmp_path / "error.log")


@pytest.mark.parametrize("name", ["pgbackrest.conf", "pgbackrest-watch.conf"])
def test_pgbackrest_knows_every_option(name):
    # Nobody is asked for long: there are neither certificates nor a machine called watch.
    said = check("pgbackrest", f"--config={FOLDER / name}", "--stanza=leads", "--io-timeout=1", "--log-level-file=off",
                 "info")
    assert "stanza: leads" in said
    assert "WARN" not in said
