"""Where the data goes is what the settings say, whatever the shell, the path or the disk of whoever starts it."""

import contextlib
import os
import signal
import subprocess
import sys

import psutil
import pytest

from leads_service.database import embedded
from real.migrations import applied
from real.postgres import cluster, sql
from real.service import ROOT, flask, service, until

BESIDES = {"PGPORT": "1", "PGDATABASE": "elsewhere", "PGUSER": "nobody", "PGCLIENTENCODING": "LATIN1",
           "PGOPTIONS": "-c search_path=elsewhere", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/none",
           "PGGSSENCMODE": "require", "PGCHANNELBINDING": "require", "PGREQUIREAUTH": "scram-sha-256",
           "PGTARGETSESSIONATTRS": "standby", "PGDATA": "/none", "PGTZ": "Asia/Tokyo", "PGDATESTYLE": "German"}


@pytest.fixture
def elsewhere(tmp_path, server_url):
    """A shell that leads libpq to the tests' own server, which must stay as it is."""
    tables = sql(server_url, "SELECT count(*) FROM pg_class")
    host = server_url.split("host=")[1].split("&")[0]
    (tmp_path / "services").write_text(f"[elsewhere]\nhost={host}\nhostaddr=127.0.0.1\nclient_encoding=LATIN1\n")
    yield BESIDES | {"PGHOST": host, "PGHOSTADDR": "127.0.0.1", "PGSERVICE": "elsewhere",
                     "PGSERVICEFILE": str(tmp_path / "services")}
    assert sql(server_url, "SELECT count(*) FROM pg_class") == tables


def test_the_shell_leads_the_embedded_server_nowhere_else(tmp_path, elsewhere):
    with service(tmp_path / "log", LEADS_DATA_DIR=tmp_path / "data", WEB_CONCURRENCY=1, **elsewhere) as (_, caller):
        made = caller.make(name="Zoé Œuvré", source="日本")
        assert made["name"] == "Zoé Œuvré"
        assert made["created_at"].endswith("+00:00")
        assert "pending" not in flask("migrate", "--status", LEADS_DATA_DIR=tmp_path / "data", **elsewhere).stdout
        url = embedded.start(tmp_path / "data")
        assert sql(url, "SELECT name, source FROM leads") == [("Zoé Œuvré", "日本")]


def test_the_shell_leads_a_database_url_nowhere_else(tmp_path, make_database, elsewhere):
    url = make_database()
    others = {name: value for name, value in elsewhere.items() if not name.startswith("PGSSL")}
    assert flask("migrate", DATABASE_URL=f"{url}&client_encoding=LATIN1", **others).returncode == 0
    with service(tmp_path / "log", DATABASE_URL=f"{url}&client_encoding=LATIN1", WEB_CONCURRENCY=1,
                 **others) as (_, caller):
        assert caller.make(name="日本")["created_at"].endswith("+00:00")
    assert applied(url)
    assert sql(url, "SELECT name FROM leads") == [("日本",)]


@pytest.mark.parametrize("name", ["My été \"x\" l'a,b 50%20 %s a#b?c=d&e $HOME `id` ; exit 1 \\ 日本", "é, #%'" * 15])
def test_any_path_will_do(tmp_path, name):
    place = tmp_path / name / "var"
    with service(tmp_path / "log", LEADS_DATA_DIR=place, WEB_CONCURRENCY=1) as (process, caller):
        assert caller.make()["name"] == "Lead"
        assert (place / "pg" / "postmaster.pid").exists()
        process.terminate()
        process.wait(30)
    assert not (place / "pg" / "postmaster.pid").exists()
    assert "Traceback" not in (tmp_path / "log").read_text()


@contextlib.contextmanager
def small_disk(folder, megabytes):
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", folder],
                                      capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("megabytes", [1, 20])
def test_a_full_disk_is_told_in_one_sentence(tmp_path, megabytes):
    with small_disk(tmp_path / "disk", megabytes) as disk:
        ended = flask("migrate", LEADS_DATA_DIR=disk / "data")
    assert ended.returncode
    assert "No space left on device" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_an_account_that_may_not_write_is_told_in_one_sentence(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pg").symlink_to("/proc/1")
    ended = flask("migrate", LEADS_DATA_DIR=tmp_path / "data")
    assert ended.returncode
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.rstrip().endswith(".")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_stops_the_server_too(tmp_path, sent):
    # Whoever runs the tests under nohup hands an ignored SIGHUP on.
    script = (f"import pathlib, signal, sys, time; signal.signal({sent:d}, signal.SIG_DFL); "
              "from leads_service.database import embedded; "
              "embedded.start(pathlib.Path(sys.argv[1])); print(flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", script, tmp_path / "data"], cwd=ROOT,
                          stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        server = psutil.Process(int((tmp_path / "data" / "pg" / "postmaster.pid").read_text().split()[0]))
        process.send_signal(sent)
        assert process.wait(20) == 128 + sent
    until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)


def test_a_statement_under_way_does_not_keep_the_server(tmp_path):
    """A worker that gunicorn has to kill leaves its statement behind; the server ends all the same."""
    with service(tmp_path / "log", "--graceful-timeout", "1", LEADS_DATA_DIR=cluster(tmp_path / "data"),
                 WEB_CONCURRENCY=2) as (process, caller):
        url = f"postgresql://postgres@/postgres?host={tmp_path}/data/pg"
        sql(url, "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS "
                 "$$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$")
        sql(url, "CREATE TRIGGER slowly BEFORE INSERT ON leads FOR EACH ROW EXECUTE FUNCTION slowly()")
        server = psutil.Process(int((tmp_path / "data" / "pg" / "postmaster.pid").read_text().split()[0]))
        host, port = caller.address.split(":")
        script = (f"import http.client; c = http.client.HTTPConnection('{host}', {port}); "
                  "c.request('POST', '/leads/', '{\"name\": \"x\"}', {'Content-Type': 'application/json'})\n"
                  "try: c.getresponse()\nexcept OSError: pass")
        with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL):
            until(lambda: sql(url, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
            process.terminate()
            process.wait(20)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
