"""The PostgreSQL that the service brings along: shared, stopped with its last user, and back after any kill."""

import contextlib
import http.client
import os
import pwd
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from real.forks import under_way
from real.postgres import sql
from real.service import ROOT, flask, free_port, service, until


def runs(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def postmaster(data_dir):
    """The PostgreSQL process of `data_dir`, None when there is none."""
    with contextlib.suppress(OSError, IndexError, ValueError, psutil.NoSuchProcess):
        process = psutil.Process(int((data_dir / "pg" / "postmaster.pid").read_text().split()[0]))
        if process.name() == "postgres" and runs(process) and process.cwd() == str(data_dir / "pg"):
            return process
    return None


def log_of(data_dir):
    return data_dir.with_suffix(".log")


def serving(data_dir):
    """A service on `data_dir`; yields (process, Caller)."""
    return service(log_of(data_dir), LEADS_DATA_DIR=data_dir, WEB_CONCURRENCY=1)


@contextlib.contextmanager
def using(data_dir):
    """A smaller user of the same database; yields (process, URL)."""
    script = ("import pathlib, sys; from leads_service.database import embedded; "
              "print(embedded.start(pathlib.Path(sys.argv[1])), flush=True); sys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", script, data_dir], cwd=ROOT, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        url = process.stdout.readline().strip()
        assert url, "it did not start"
        yield process, url
        process.stdin.close()


def status_of(data_dir, **environ):
    return flask("migrate", "--status", LEADS_DATA_DIR=data_dir, **environ)


@contextlib.contextmanager
def setting(data_dir, lines):
    """Lines added to PostgreSQL's configuration for a while."""
    conf = data_dir / "pg" / "postgresql.conf"
    before = conf.read_text()
    conf.write_text(before + lines)
    try:
        yield
    finally:
        conf.write_text(before)


def end(data_dir):
    """End what a failed test has left."""
    if left := postmaster(data_dir):
        left.send_signal(signal.SIGQUIT)
        until(lambda: not runs(left))


@pytest.fixture
def data_dir(tmp_path):
    """A place for a database."""
    yield tmp_path / "data"
    end(tmp_path / "data")


@pytest.fixture(scope="module")
def shared_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("shared") / "data"
    assert flask("migrate", LEADS_DATA_DIR=path).returncode == 0
    return path


@pytest.fixture
def used_dir(shared_dir):
    """A data folder that has served before; nothing runs there before and after the test."""
    end(shared_dir)
    yield shared_dir
    end(shared_dir)


# Starting, sharing, stopping.

def test_it_has_memory_for_the_figures_of_a_million_leads(used_dir):
    with using(used_dir) as (_, url):
        [(memory,)] = sql(url, "SELECT pg_size_bytes(current_setting('shared_buffers'))")
        assert memory == min(256 * 2**20, psutil.virtual_memory().total // 4 // 2**20 * 2**20)

def test_it_makes_everything_and_says_where(data_dir):
    with serving(data_dir) as (_, caller):
        assert caller.get("/health/ready").status == 200
        assert caller.make(name="Premier") == caller.get("/leads/").data[0]
        log = log_of(data_dir).read_text()
        for told in (f"http://{caller.address} ", f"http://{caller.address}/docs", str(data_dir)):
            assert told in f"{log} ".replace("\n", " ")
        assert caller.get("/docs/").status == 200


@pytest.mark.parametrize("way", ["ctrl-c", "terminate"])
def test_it_stops_at_once_and_cleanly(used_dir, way):
    def call_on_and_on():
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                caller.get("/health")

    with serving(used_dir) as (process, caller), contextlib.closing(
            http.client.HTTPConnection(caller.address)) as idle_browser:
        idle_browser.request("GET", "/health")
        assert idle_browser.getresponse().read()
        server = postmaster(used_dir)
        callers = [threading.Thread(target=call_on_and_on) for _ in range(6)]
        for thread in callers:
            thread.start()
        if way == "ctrl-c":
            os.killpg(process.pid, signal.SIGINT)  # reaches everything that the terminal started
        else:
            process.terminate()
        process.wait(40)  # gunicorn gives a thread that is still busy its graceful timeout, 30 s
        for thread in callers:
            thread.join()
        assert process.returncode == 0
        assert not runs(server)
    assert not (used_dir / "pg" / "postmaster.pid").exists()
    assert (used_dir / "pg" / "log").read_text().rstrip().endswith("database system is shut down")
    assert "Traceback" not in log_of(used_dir).read_text()


def test_it_is_shared_until_the_last_service_stops(used_dir):
    with (serving(used_dir) as (first, one),
          under_way("gunicorn", "-b", one.address, LEADS_DATA_DIR=used_dir) as on_a_taken_port):
        server = postmaster(used_dir)
        with serving(used_dir) as (_, other):
            assert postmaster(used_dir) == server
            assert one.make(name="Partagé") == other.get("/leads/").data[0]
            assert "pending" not in status_of(used_dir).stdout
            assert one.make(name="Encore")
            said = on_a_taken_port.said()
            assert on_a_taken_port.returncode != 0
            assert one.address.split(":")[1] in said
            assert "Traceback" not in said
            assert one.make(name="Encore")
            first.terminate()
            first.wait(20)
            assert other.make(name="Toujours là")
        assert not runs(server)


def test_a_killed_user_leaves_it_to_the_others(used_dir):
    with serving(used_dir) as (_, caller):
        server = postmaster(used_dir)
        with using(used_dir) as (process, _):
            process.kill()
            process.wait()
        assert caller.make(name="Encore")
    assert not runs(server)


def test_commands_start_and_stop_it_where_no_service_runs(used_dir):
    ended = status_of(used_dir)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "pending" not in ended.stdout
    assert not postmaster(used_dir)


# Kills, and what they leave behind.

def test_every_acknowledged_lead_survives_a_kill(used_dir):
    acknowledged = []

    def write(caller):
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            while True:
                acknowledged.append(caller.make(name="Durable")["id"])

    with serving(used_dir) as (process, caller):
        writers = [threading.Thread(target=write, args=(caller,)) for _ in range(3)]
        for writer in writers:
            writer.start()
        until(lambda: len(acknowledged) > 30)
        for one in (postmaster(used_dir), *psutil.Process(process.pid).children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL's own end with the first
                one.kill()
        process.wait()
        for writer in writers:
            writer.join()
    with serving(used_dir) as (_, caller):
        assert set(acknowledged) <= set(caller.get("/leads/", limit=1000).ids)
        assert caller.make(name="Après")


@pytest.fixture(scope="module")
def another_postgres(tmp_path_factory):
    """The process id of a PostgreSQL that serves another folder."""
    path = tmp_path_factory.mktemp("another")
    with using(path):
        yield str(postmaster(path).pid)


NOBODY = str(2**22 + 1)  # larger than any process id
LOCK_FILES = {
    "postmaster.pid": "{pid}\n{pg}\n1700000000\n5432\n{pg}\n\n  123456    789\nready   \n",
    ".s.PGSQL.5432.lock": "{pid}\n{pg}\n1700000000\n5432\n{pg}\n",
}


@pytest.mark.parametrize("holder", ["nobody", "this process", "another postgres"])
@pytest.mark.parametrize("lines", [9, 2], ids=["whole", "cut"])
def test_lock_files_of_the_dead_prevent_no_start(used_dir, another_postgres, holder, lines):
    pid = {"nobody": NOBODY, "this process": str(os.getpid()), "another postgres": another_postgres}[holder]
    _leave_lock_files(used_dir, lambda text: "".join(
        text.format(pid=pid, pg=used_dir / "pg").splitlines(keepends=True)[:lines]))
    with using(used_dir) as (_, url):
        assert sql(url, "SELECT 1")
    assert not postmaster(used_dir)
    assert runs(psutil.Process(int(another_postgres)))


@pytest.mark.parametrize("garbage", ["", "\0" * 60, "\udcff\udcfe"], ids=["empty", "zeros", "no text"])
def test_lock_files_of_garbage_prevent_no_start(used_dir, garbage):
    _leave_lock_files(used_dir, lambda text: garbage)
    (used_dir / "pg" / ".handle_pids.json").write_text("[12")
    with using(used_dir) as (_, url):
        assert sql(url, "SELECT 1")


def _leave_lock_files(data_dir, change):
    owner = (data_dir / "pg").stat()
    for name, text in LOCK_FILES.items():
        path = data_dir / "pg" / name
        path.write_text(change(text), errors="surrogateescape")
        os.chown(path, owner.st_uid, owner.st_gid)


@pytest.mark.parametrize("moment", ["PG_VERSION", "base/5"])
def test_a_first_start_that_was_killed_is_started_over(data_dir, moment):
    with under_way("flask", "leads", "migrate", LEADS_DATA_DIR=data_dir) as first:
        until((data_dir / "pg" / moment).exists)
        [initdb] = [child for child in psutil.Process(first.pid).children() if child.name() == "initdb"]
        initdb.suspend()  # it would live on a little, and write
        first.kill()
    with using(data_dir) as (_, url):
        assert not runs(initdb)
        assert sql(url, "SELECT 1")
    assert sorted(path.name for path in data_dir.iterdir()) == ["pg", "start.lock", "users.lock"]


def test_a_restored_backup_is_not_taken_for_one(used_dir):
    with using(used_dir) as (_, url):
        sql(url, "INSERT INTO leads (name) VALUES ('Sauvegardé')")
    (used_dir / "pg" / "postmaster.opts").unlink()  # pg_basebackup leaves it out
    with using(used_dir) as (_, url):
        assert sql(url, "SELECT count(*) FROM leads WHERE name = 'Sauvegardé'") == [(1,)]


def test_a_slow_recovery_is_waited_for(used_dir):
    (used_dir / "pg" / "recovery.signal").touch()
    with setting(used_dir, "restore_command = 'sleep 0.2; false'\nhot_standby = off\n"):
        with under_way("flask", "leads", "migrate", LEADS_DATA_DIR=used_dir) as first:
            until(lambda: postmaster(used_dir))
            first.kill()
        with using(used_dir) as (_, url):  # PostgreSQL runs, but answers nobody yet
            sql(url, "INSERT INTO leads (name) VALUES ('Après')")


# What the operator has to put right, or not even that.

def sentence(data_dir):
    """The one line that gunicorn ends with."""
    with under_way("gunicorn", "-b", f"127.0.0.1:{free_port()}", LEADS_DATA_DIR=data_dir) as process:
        output = process.said()
    assert process.returncode != 0
    said = [line for line in output.splitlines() if " INFO " not in line]
    assert len(said) == 1
    assert said[0].endswith(".")
    return said[0]


@pytest.mark.parametrize("below", [False, True])
def test_a_file_where_the_folder_should_be_is_told_in_one_sentence(tmp_path, below):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "data" if below else tmp_path / "file"
    assert sentence(place).startswith(f"LEADS_DATA_DIR {place} ")


def test_somebody_else_s_files_are_neither_used_nor_removed(data_dir):
    (data_dir / "pg").mkdir(parents=True)
    (data_dir / "pg" / "thesis.txt").write_text("precious")
    for _ in range(2):
        assert "not empty" in sentence(data_dir)
    assert (data_dir / "pg" / "thesis.txt").read_text() == "precious"


def test_what_postgres_complains_of_is_passed_on(used_dir):
    with setting(used_dir, "nonsense = 1\n"):
        assert "postgresql.conf" in sentence(used_dir)


def test_a_locale_that_this_machine_lacks_is_no_obstacle(data_dir):
    ended = status_of(data_dir, LC_ALL="xx_YY.UTF-8")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root makes an account for PostgreSQL.")
def test_first_starts_at_once_make_one_account(tmp_path):
    name = f"leads_test_{os.getpid()}"
    script = ("import pathlib, sys; from leads_service.database import embedded; embedded._ACCOUNT = sys.argv[1]; "
              "sys.stdin.readline(); print(embedded._account(pathlib.Path(sys.argv[2]))['user'])")
    with contextlib.ExitStack() as scope:
        scope.callback(subprocess.run, ["/usr/sbin/userdel", name], capture_output=True)
        starting = [scope.enter_context(subprocess.Popen(
            [sys.executable, "-c", script, name, tmp_path], cwd=ROOT, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)) for _ in range(4)]
        for process in starting:
            process.stdin.write("\n")
            process.stdin.flush()
        assert {int(process.communicate()[0]) for process in starting} == {pwd.getpwnam(name).pw_uid}
