"""The cluster: which machine runs what, installed from deploy/ as docs/cluster.md tells an operator to."""

import contextlib
import json
import re
import secrets
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

from bench.cluster.machines import VENV, Machine, left_over, network, until

ROOT = Path(__file__).resolve().parents[2]
DATABASES, SERVICES = ("db1", "db2", "db3"), ("app1", "app2")
NUMBERS = {"front": 10, "db1": 11, "db2": 12, "db3": 13, "app1": 21, "app2": 22, "watch": 30}
UNITS = {"db": ("etcd", "patroni", "pgbouncer", "pgbackrest"), "app": ("leads", "nginx"), "front": ("haproxy",),
         "watch": ("pgbackrest", "prometheus", "prometheus-alertmanager")}
CODE = ("leads_service", "migrations", "gunicorn.conf.py", "wsgi.py", "deploy")
FOLDERS = {"db": (("postgres", "/run/postgresql"), ("etcd", "/var/lib/etcd")), "front": (("haproxy", "/run/haproxy"),),
           "watch": (("prometheus", "/var/lib/prometheus"), ("prometheus", "/var/lib/prometheus/metrics2"),
                     ("prometheus", "/var/lib/prometheus/alertmanager"))}
# (kind of machine, file of deploy/, its place there, owner, mode)
FILES = [
    ("db", "cluster/etcd.env", "/etc/default/etcd", "root", "644"),
    ("db", "cluster/patroni.env", "/etc/patroni_env.conf", "root", "644"),
    ("db", "cluster/patroni.yml", "/etc/patroni/config.yml", "postgres", "600"),
    ("db", "pgbouncer.ini", "/etc/pgbouncer/leads.ini", "postgres", "640"),
    ("db", "cluster/pgbouncer.ini", "/etc/pgbouncer/pgbouncer.ini", "postgres", "640"),
    ("db", "cluster/pgbackrest.conf", "/etc/pgbackrest.conf", "root", "644"),
    ("app", "cluster/leads.env", "/etc/leads.env", "leads", "600"),
    ("app", "nginx.conf", "/etc/nginx/sites-enabled/leads", "root", "644"),
    ("app", "cluster/metrics.conf", "/etc/nginx/sites-enabled/leads-metrics", "root", "644"),
    ("front", "cluster/haproxy.cfg", "/etc/haproxy/haproxy.cfg", "root", "644"),
    ("front", "cluster/leads.http", "/etc/haproxy/errors/leads.http", "root", "644"),
    ("watch", "cluster/pgbackrest-watch.conf", "/etc/pgbackrest.conf", "root", "644"),
    ("watch", "cluster/prometheus.yml", "/etc/prometheus/prometheus.yml", "root", "644"),
    ("watch", "cluster/rules.yml", "/etc/prometheus/rules.yml", "root", "644"),
    ("watch", "cluster/alertmanager.yml", "/etc/prometheus/alertmanager.yml", "root", "644"),
]


class Cluster:
    """The machines by name, and what an operator does with them."""

    synchronous = True

    def __init__(self, folder, changes=None):
        self.folder = folder
        self._changes = changes or {}  # {file of deploy/: {old: new}}: what the bench has otherwise than the files
        self._secrets = {}
        self.machines = {}
        self.keys = {}  # role: key

    def build(self):
        """The machines, with all that is installed on them, running."""
        for name, number in NUMBERS.items():
            self.machines[name] = Machine(name, number, self.folder)
        self._name_machines()
        self._make_certificates()
        for name in self.machines:
            self._install(name)
        self._begin()

    def __getitem__(self, name):
        return self.machines[name]

    def _name_machines(self):
        hosts = "127.0.0.1 localhost\n" + "".join(f"{machine.address} {name}\n"
                                                  for name, machine in self.machines.items())
        for machine in self.machines.values():
            machine.put("/etc/hosts", hosts)

    def _secret(self, match):
        return self._secrets.setdefault(match[1], secrets.token_hex(12))

    def _install(self, name):
        machine, kind = self[name], name.rstrip("123")
        if kind == "app":
            machine.run("useradd", "--system", "--home-dir", "/var/lib/leads", "leads")
            machine.run("rm", "-f", "/etc/nginx/sites-enabled/default")
            self.lay_code(name, ROOT)
        for of, file, place, owner, mode in FILES:
            if of == kind:
                text = (ROOT / "deploy" / file).read_text()
                for old, new in self._changes.get(file, {}).items():
                    assert old in text, f"{file}: {old}"
                    text = text.replace(old, new)
                text = re.sub(r"CHANGE-ME-(\w+)", self._secret, re.sub(r"\bTHIS\b", name, text))
                if name == "app2":
                    text = text.replace("db2:6432,db3:6432,db1:6432", "db1:6432,db3:6432,db2:6432")
                machine.put(place, text, owner, mode)
        if kind == "db":
            machine.put("/etc/pgbouncer/userlist.txt", f'"leads" "{self.password}"\n', "postgres", "600")
        self._prepare(name)

    def _prepare(self, name):
        """Make the folders that Debian's packages do, or systemd at each start."""
        for owner, place in FOLDERS.get(name.rstrip("123"), ()):
            self[name].run("install", "-d", "-o", owner, place)

    @property
    def password(self):
        """The service's at the database."""
        return self._secrets.setdefault("LEADS", secrets.token_hex(12))

    def lay_code(self, name, source, place="/srv/leads"):
        """Copy the code to a machine of the service."""
        machine = self[name]
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for part in CODE:
                    tar.add(source / part, part)
            file.seek(0)
            machine.run("sh", "-c", 'mkdir "$1" && tar -x --no-same-owner -C "$1"', "lay", place, given=file)
        machine.run("ln", "-s", VENV, f"{place}/.venv")
        # Its Python may be root's, which the service's account cannot reach.
        machine.run("chmod", "a+x", *Path(sys.executable).resolve().parents[:-1])

    def _make_certificates(self):
        """One authority, and a certificate for each machine in its name, for pgBackRest."""
        own = self.folder / "certificates"
        own.mkdir()
        ca, key = own / "ca.crt", own / "ca.key"
        run = self["watch"].run  # openssl's files lie where every machine reads them
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "3650", "-subj", "/CN=leads backup", "-keyout", "/tmp/ca.key", "-out", "/tmp/ca.crt")
        ca.write_text(run("cat", "/tmp/ca.crt"))
        key.write_text(run("cat", "/tmp/ca.key"))
        for name in (*DATABASES, "watch"):
            run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                f"/CN={name}", "-keyout", f"/tmp/{name}.key", "-out", f"/tmp/{name}.csr")
            run("sh", "-c", f"printf 'subjectAltName=DNS:{name}' > /tmp/names && openssl x509 -req -days 3650 -CA "
                            f"/tmp/ca.crt -CAkey /tmp/ca.key -CAcreateserial -extfile /tmp/names -in /tmp/{name}.csr "
                            f"-out /tmp/{name}.crt")
            machine = self[name]
            machine.put("/etc/pgbackrest/ca.crt", ca.read_text())
            machine.put("/etc/pgbackrest/machine.crt", run("cat", f"/tmp/{name}.crt"), "postgres", "600")
            machine.put("/etc/pgbackrest/machine.key", run("cat", f"/tmp/{name}.key"), "postgres", "600")

    def start(self, name):
        """What an operator has enabled starts, at first and when the machine is booted again."""
        for unit in UNITS[name.rstrip("123")]:
            self.start_unit(name, unit)

    def start_unit(self, name, unit):
        """Start one program."""
        self[name].start(unit, ROOT / "deploy/leads.service" if unit == "leads" else None)

    def reboot(self, name):
        """Power on again."""
        self[name].boot()
        self._prepare(name)
        self.start(name)

    def _begin(self):
        """From installed machines to a service that answers, in the order of docs/cluster.md."""
        for name in DATABASES:
            self[name].start("etcd")
        for name in DATABASES:
            self[name].start("patroni")
        primary = until(self.primary, "a primary")
        until(self.whole, "two standbys, one of them synchronous")
        self.psql(primary, f"CREATE ROLE leads LOGIN PASSWORD '{self.password}'",
                  "GRANT pg_read_all_stats TO leads", "CREATE DATABASE leads OWNER leads")
        for name in (*DATABASES, "watch"):
            self[name].start("pgbackrest")
        time.sleep(0.5)
        self["watch"].run("pgbackrest", "--stanza=leads", "stanza-create", user="postgres")
        for name in DATABASES:
            self[name].start("pgbouncer")
        self["front"].start("haproxy")
        self.flask("app1", "migrate")
        self.keys = {role: re.search(r"leads_[\w-]+", self.flask("app1", "key", "create", role, "--role", role))[0]
                     for role in ("reader", "editor", "admin")}
        self["watch"].put("/etc/prometheus/leads.key", self.keys["reader"], "prometheus", "600")
        for name in SERVICES:
            self.start(name)
        for unit in UNITS["watch"][1:]:
            self["watch"].start(unit)
        until(lambda: ask(f"http://{self['front'].address}/api/health/ready")[0] == 200, "the front answers")

    def flask(self, name, *words, check=True, output=None, code="/srv/leads"):
        """`flask leads …` on a machine of the service, on a direct connection to the primary; `output`: into a file
        there; `code`: where that lies."""
        url = (f"postgresql://leads:{self.password}@db1:5432,db2:5432,db3:5432/leads"
               "?target_session_attrs=read-write")
        into = ["sh", "-c", f'exec "$@" > {output}', "sh"] if output else []
        return self[name].run(*into, f"{code}/.venv/bin/flask", "leads", *words, user="leads", directory=code,
                              DATABASE_URL=url, LANG="C.UTF-8", check=check)

    def psql(self, name, *statements):
        """What statements give on a machine's PostgreSQL, as its superuser."""
        words = [word for statement in statements for word in ("-c", statement)]
        return self[name].run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *words, user="postgres")

    def patronictl(self, *words):
        """Run patronictl where an operator does."""
        name = next(name for name in DATABASES if ask(f"http://{self[name].address}:8008/health")[0] in (200, 503))
        return self[name].run("patronictl", "-c", "/etc/patroni/config.yml", *words, user="postgres")

    def set_synchronous(self, synchronous):
        """Have Patroni wait for a standby at each write, or not."""
        self.patronictl("edit-config", "--force", "-s", f"synchronous_mode={str(synchronous).lower()}", "leads")
        self.synchronous = synchronous
        until(self.whole, "a whole cluster")

    def state(self):
        """What Patroni says of its members, {name: {role, state, lag}}; of the first machine that answers."""
        for name in DATABASES:
            status, body = ask(f"http://{self[name].address}:8008/cluster")
            if status == 200:
                return {member["name"]: member for member in json.loads(body)["members"]}
        return {}

    def primary(self):
        """The name of the machine that is primary; None while there is none."""
        return next((name for name in DATABASES if ask(f"http://{self[name].address}:8008/primary")[0] == 200), None)

    def standby(self):
        """The name of the machine that would be primary next: the synchronous standby, if one has to be."""
        wanted = "sync_standby" if self.synchronous else "replica"
        return next(name for name, member in self.state().items() if member["role"] == wanted)

    def haproxy(self, command):
        """What HAProxy answers to a command on its socket."""
        return self["front"].run("sh", "-c", f"echo '{command}' | socat stdio /run/haproxy/admin.sock")

    def whole(self):
        """Whether there are a primary and two standbys that follow it closely, one synchronous if one has to be."""
        members = self.state()
        roles = [member["role"] for member in members.values()]
        followers = [member for member in members.values() if member["role"] != "leader"]
        wanted = "sync_standby" if self.synchronous else "replica"
        return (roles.count("leader") == 1 and wanted in roles and len(followers) == 2
                and all(member["state"] in ("running", "streaming") and member.get("lag") in range(2**20)
                        and member["timeline"] == followers[0]["timeline"] for member in followers)
                and self.primary() and all(ask(f"http://{self[name].address}:8008/replica")[0] == 200
                                           for name in members if members[name] in followers))


def ask(address, timeout=2, headers=None):
    """(status, body) of a GET; (0, "") when nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers or {}), timeout=timeout) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@contextlib.contextmanager
def cluster(changes=None):
    """A running cluster, taken down afterwards."""
    if left_over():
        raise SystemExit(f"{', '.join(left_over())}: of another run. One that was killed leaves them behind: end what "
                         "`ip netns pids NAME` names, then `ip netns del NAME` each, and `ip link del leads0`.")
    folder = Path(tempfile.mkdtemp(prefix="leads-cluster-"))
    folder.chmod(0o755)
    made = Cluster(folder, changes)
    try:
        with network():
            try:
                made.build()
                yield made
            except Exception:
                for log in sorted(folder.glob("*/*.log")):
                    print(f"--- {log.relative_to(folder)}\n{log.read_text()[-1500:]}")
                raise
            finally:
                # Another Ctrl-C, or a time limit that is over just now, would leave the rest behind.
                before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGTERM)]
                for machine in made.machines.values():
                    machine.remove()
                for number, handler in before:
                    signal.signal(number, handler)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
