"""Machines that share this one's kernel: each has a network, processes and a disk of its own, on which it sees this
machine's files and writes its own. What systemd would run on them is run as their units say."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

PREFIX, BRIDGE, NETWORK, HERE = "leads-", "leads0", "10.231.8", 254
DISK = "3G"  # sparse
VENV = Path(sys.prefix).resolve()  # every machine sees it, also where it lies under /tmp or on another disk
_UNITS, _CGROUPS = Path("/lib/systemd/system"), Path("/sys/fs/cgroup")
_INIT = """
mount -o loop {folder}/disk.img {folder}/disk && mkdir -p {folder}/disk/upper {folder}/disk/work
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/disk/upper,workdir={folder}/disk/work {folder}/root
cd {folder}/root
mount -t proc proc proc && mount --rbind /dev dev && mount --bind /sys sys
mount -t tmpfs tmpfs run && mount -t tmpfs tmpfs tmp && chmod 1777 tmp && mkdir -p run/lock
mkdir -p .{venv} && mount -o bind,ro {venv} .{venv}
hostname {name}
exec chroot . bash -c 'echo up; while true; do sleep 3600 & wait $!; done'  # bash reaps the orphans of this machine
"""


def _ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, stderr=None if check else subprocess.DEVNULL)


@contextlib.contextmanager
def network():
    """The cable between the machines, of which this one has an end, too."""
    _ip("link", "add", BRIDGE, "type", "bridge")
    try:
        _ip("addr", "add", f"{NETWORK}.{HERE}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        yield
    finally:
        for name in left_over():  # a machine that was not finished
            _ip("netns", "del", name, check=False)
        _ip("link", "del", BRIDGE, check=False)


class Machine:
    """One machine, `number` of the network; its disk and the output of its programs lie in `folder`."""

    def __init__(self, name, number, folder):
        self.name, self.address, self.folder = name, f"{NETWORK}.{number}", folder / name
        self._net, self._cable = PREFIX + name, f"{BRIDGE}-{name}"
        self._kernel = None
        self._running = {}  # unit: Popen
        for inside in ("disk", "root"):
            (self.folder / inside).mkdir(parents=True)
        image = self.folder / "disk.img"
        subprocess.run(["truncate", "-s", DISK, image], check=True)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        _ip("netns", "add", self._net)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self._net)
        _ip("link", "set", self._cable, "master", BRIDGE, "up")
        for words in ("addr add {}/24 dev eth0", "link set eth0 up", "link set lo up"):
            _ip("-n", self._net, *words.format(self.address).split())
        self.boot()

    def boot(self):
        """Power on; what ran before has to be started again."""
        script = _INIT.format(folder=self.folder, name=self.name, venv=VENV)
        self._kernel = subprocess.Popen(
            ["ip", "netns", "exec", self._net, "unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child",
             "bash", "-ec", script], stdout=subprocess.PIPE, start_new_session=True)
        if self._kernel.stdout.readline() != b"up\n":
            raise RuntimeError(f"{self.name} does not boot")

    def kill(self):
        """The power fails: every process ends at once, without a goodbye."""
        self._kernel.kill()
        self._kernel.wait()
        for process in self._running.values():
            process.wait()
        self._running = {}

    def remove(self):
        """Take the machine away."""
        self.kill()
        _ip("netns", "del", self._net, check=False)
        _ip("link", "del", self._cable, check=False)

    def processes(self, names=""):
        """Its processes, or those whose names begin so."""
        own = f"/proc/{self._init()}/ns/pid"
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.NoSuchProcess):
                if os.path.samefile(f"/proc/{process.pid}/ns/pid", own) and process.name().startswith(names):
                    yield process

    def spent(self, names=""):
        """The processor's seconds that those have used, with their children that have ended."""
        total = 0.0
        for process in self.processes(names):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])
        return total

    @contextlib.contextmanager
    def limited(self, cores, names=""):
        """Let its processes whose names begin so have that much of a core together."""
        folder, file, text = _CGROUPS / f"{PREFIX}{self.name}", "cpu.max", f"{cores * 1e5:.0f} 100000"
        if (_CGROUPS / "cpu").is_dir():  # cgroup's first version
            folder, file, text = _CGROUPS / "cpu" / folder.name, "cpu.cfs_quota_us", f"{cores * 1e5:.0f}"
        else:
            (_CGROUPS / "cgroup.subtree_control").write_text("+cpu")
        folder.mkdir()
        try:
            (folder / file).write_text(text)
            for process in self.processes(names):
                with contextlib.suppress(OSError):  # ended meanwhile
                    (folder / "cgroup.procs").write_text(str(process.pid))
            yield
        finally:
            for pid in (folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (folder.parent / "cgroup.procs").write_text(pid)
            folder.rmdir()

    def cut(self):
        """Pull the cable: nothing arrives, nobody is told."""
        _ip("link", "set", self._cable, "down")

    def mend(self):
        """Plug it in again."""
        _ip("link", "set", self._cable, "up")

    def _init(self):
        [init] = psutil.Process(self._kernel.pid).children()
        return str(init.pid)

    def _inside(self, user, directory, environ, group=None):
        return ["nsenter", "--target", self._init(), "--mount", "--net", "--pid", "--uts", "--root", "--wd=/",
                "setpriv", f"--reuid={user}", f"--regid={group or user}", "--init-groups", "--reset-env",
                "env", "-C", directory, *(f"{name}={value}" for name, value in environ.items())]

    def run(self, *words, user="root", directory="/", check=True, given=subprocess.DEVNULL, **environ):
        """Run a command there, with the file `given` as its input, and give its output; `check`: a failure ends the
        bench with that output."""
        done = subprocess.run([*self._inside(user, directory, environ), *map(str, words)], text=True, stdin=given,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if check and done.returncode:
            raise RuntimeError(f"{self.name}: {shlex.join(map(str, words))}: {done.returncode}\n{done.stdout[-3000:]}")
        return done.stdout

    def put(self, path, text, owner="root", mode="644"):
        """Write a file."""
        command = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chown "$2:" "$1" && chmod "$3" "$1"'
        subprocess.run([*self._inside("root", "/", {}), "sh", "-c", command, "put", path, owner, mode],
                       input=text, text=True, check=True)

    def start(self, unit, path=None):
        """Start what the unit, Debian's or the file at `path`, tells systemd to start."""
        service = _Unit((path or _UNITS / f"{unit}.service").read_text(), self)
        for directory in service.directories:
            self.run("install", "-d", "-m", "750", "-o", service.user, "-g", service.group, directory)
        with open(self.folder / f"{unit}.log", "ab") as log:
            self._running[unit] = subprocess.Popen(
                [*self._inside(service.user, service.directory, service.environ, service.group), *service.command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self, unit):
        """What the unit has said since it was forgotten."""
        return (self.folder / f"{unit}.log").read_text()

    def forget(self, unit):
        """Empty what the unit has said."""
        os.truncate(self.folder / f"{unit}.log", 0)

    def process(self, unit):
        """The unit's first process."""
        return psutil.Process(self._running[unit].pid).children()[0]

    def stop(self, unit, number=signal.SIGTERM):
        """Send the unit's first process a signal, and wait until it has ended."""
        with contextlib.suppress(IndexError, psutil.NoSuchProcess):
            self.process(unit).send_signal(number)
        self._running.pop(unit).wait(90)


class _Unit:
    """Of a unit's [Service], what these programs need: account, environment, directories, command."""

    def __init__(self, text, machine):
        self._said = re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)
        self.user = self._last("User", "root")
        self.group = self._last("Group", self.user)
        self.directory = self._last("WorkingDirectory", "/")
        self.directories = [f"{place}/{name}" for kind, place in (
            ("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib")) for name in self._last(kind, "").split()]
        self.environ = {"HOME": "/", "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
        for name, value in self._said:
            if name == "Environment":
                self._set(shlex.split(value.replace("%H", machine.name)))
            elif name == "EnvironmentFile":
                words = machine.run("cat", value.removeprefix("-").replace("%p", "etcd"), check=False).splitlines()
                self._set(line.replace('"', "") for line in words if not line.startswith(("#", "cat:")))
        self.command = [word for written in shlex.split(self._last("ExecStart"))
                        for word in (self.environ.get(written[1:], "").split() if re.fullmatch(r"\$\w+", written)
                                     else [written])]

    def _last(self, wanted, default=None):
        return next((value for name, value in reversed(self._said) if name == wanted), default)

    def _set(self, pairs):
        self.environ.update(pair.split("=", 1) for pair in pairs if "=" in pair)


def until(condition, what, seconds=90):
    """What `condition()` gives as soon as that is true; it may fail to connect meanwhile."""
    deadline = time.monotonic() + seconds
    while True:
        found = None
        with contextlib.suppress(OSError):
            found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise RuntimeError(f"after {seconds} s still not: {what}")
        time.sleep(0.1)


def left_over():
    """The network namespaces that another run has, or, killed, has left behind."""
    return [path.name for path in Path("/run/netns").glob(f"{PREFIX}*")]
