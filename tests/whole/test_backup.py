"""The backup and restore commands, run as they stand there."""

import re
import subprocess
import sys

import pytest

from leads_service.database import embedded, migrator
from real.postgres import cluster, connected, sql
from real.service import ROOT, service, until

BACKUP = (ROOT / "docs" / "running.md").read_text().partition("\n## Backup\n")[2].partition("\n## ")[0]
DUMP, RESTORE, EMBEDDED = re.findall(r"^```bash\n(.+?)^```", BACKUP, re.MULTILINE | re.DOTALL)
TABLES = ("leads", "clients", "companies", "leads_migrations", "leads_migrations_made", "leads_history",
          "leads_history_purged")

EPOCH = "SELECT leads_epoch()"


def run(commands, data_dir, folder):
    """Run these lines in `folder`, with the PostgreSQL under `data_dir` as the service's own."""
    for written, here in {"$PWD/.venv": sys.prefix, "$PWD/var": str(data_dir)}.items():
        commands = commands.replace(written, here)
    subprocess.run(["bash", "-euc", commands], cwd=folder, check=True)


def everything(url):
    return {table: sql(url, f"SELECT t::text FROM {table} t ORDER BY 1") for table in TABLES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the dump of a database with leads and a client lies, beside `old/`, the data that it is of."""
    path = tmp_path_factory.mktemp("backup")
    url = embedded.start(cluster(path / "old"))
    with connected(url) as own:
        list(migrator.up(own))
    sql(url, """
        WITH client AS (INSERT INTO clients (type, name) VALUES ('individual', 'Client') RETURNING id)
        INSERT INTO leads (name, email, tags, notes, client_id, created_at)
        SELECT 'Hélène ' || md5(n::text), n || '@example.com', '{"a,b",é}', '{"text": "\\u00e9"}',
               (SELECT id FROM client), '2025-10-31T14:30:00Z'::timestamptz + n * interval '1 minute'
        FROM generate_series(1, 3000) AS n""")
    run(EMBEDDED + DUMP, path / "old", path)
    return path


def test_what_was_dumped_is_restored_and_serves(folder, tmp_path):
    new = tmp_path / "new"
    with service(tmp_path / "log", LEADS_DATA_DIR=new, WEB_CONCURRENCY=1) as (_, caller):
        lost = caller.make(name="Après la sauvegarde")
        url = embedded.start(new)
        before = sql(url, EPOCH)
        run(EMBEDDED + RESTORE, new, folder)
        assert len({*before, *sql(url, EPOCH), *sql(embedded.start(folder / "old"), EPOCH)}) == 3
        assert everything(url) == everything(embedded.start(folder / "old"))
        assert caller.get("/health/ready").status == 200
        assert caller.get(f"/leads/{lost['id']}").status == 404
        assert caller.make(name="Nouveau", email="new@example.com")
        assert caller.call("POST", "/leads/", {"name": "x", "email": "77@EXAMPLE.com"}).status == 409
        sought = sql(url, "SELECT id::text FROM leads WHERE email = '77@example.com'")[0][0]
        term = caller.get(f"/leads/{sought}").data["name"][7:19]
        used = "SELECT idx_scan > 0 FROM pg_stat_user_indexes WHERE indexrelname = 'idx_leads_text_trgm'"
        until(lambda: caller.get(f"/leads/search/{term}").ids == [sought] and sql(url, used) == [(True,)])
    with connected(url) as own:
        assert migrator.pending(own) == []


def test_an_empty_database_takes_it_too(folder):
    url = embedded.start(folder / "old")
    sql(url, "CREATE DATABASE empty")
    run(EMBEDDED.replace("/postgres?", "/empty?") + RESTORE, folder / "old", folder)
    assert everything(url.replace("/postgres?", "/empty?")) == everything(url)
    assert sql(url.replace("/postgres?", "/empty?"), EPOCH) != sql(url, EPOCH)
