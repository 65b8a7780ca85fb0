"""Slow and huge clients: what others notice of them, and what memory they cost.

    .venv/bin/python bench/slow.py [--seconds 15]

Four callers that keep their connections read and write leads without pause: alone at first, then beside each kind of
bad client, all of them behind an nginx with deploy/nginx.conf. For each kind: the callers' 99th percentile and its
ratio to the quiet one, what the bad clients were answered, and the memory of all workers together (their PSS at most).
At the end, clients that send a body over the limit without looking: whether each of them read its 413. Prints the
figures; exit status 1 when a ratio reaches 10, a caller was refused, a 413 was lost, or the memory grew by more than
300 MB.
"""

import argparse
import asyncio
import collections
import contextlib
import multiprocessing
import os
import resource
import socket
import sys
import threading
import time

import psutil

from clients import CutError, KeptAlive, percentile, postgres
from real.nginx import behind_nginx
from real.postgres import sql

HEAD = b"POST /api/leads/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def drip(writer, data, pause):
    for byte in data:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(pause)


async def slow_head(writer, head):
    await drip(writer, head + b"X-Slow: " + b"x" * 100_000, 0.5)


async def slow_body(writer, head):
    writer.write(head + b"Content-Length: 100000\r\n\r\n")
    await drip(writer, b"x" * 100_000, 0.5)


async def slow_chunks(writer, head):
    writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0.5)


async def half_a_body(writer, head):
    writer.write(head + b"Content-Length: 10000000\r\n\r\n" + b"x" * 5_000_000)
    await writer.drain()
    await asyncio.sleep(3600)


async def endless_chunks(writer, head):
    writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        await writer.drain()


async def endless_tiny_chunks(writer, head):
    writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\nx\r\n" * 1000)
        await writer.drain()


async def idle(writer, head):
    await asyncio.sleep(3600)


async def never_reads(writer, head):
    while True:
        writer.write(b"GET /api/leads/?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.5)


KINDS = {slow_head: 200, slow_body: 200, slow_chunks: 200, half_a_body: 100, endless_chunks: 4, endless_tiny_chunks: 4,
         idle: 1000, never_reads: 8}


def attack(name, address, answers):
    """Clients of one kind in a process of their own, which come back whenever they are cut off, until it is ended."""
    os.nice(5)
    kind = globals()[name]
    host, port = address.split(":")

    async def client():
        while True:
            reader = writer = None
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(host, int(port))
                sending = asyncio.create_task(kind(writer, HEAD))
                if kind is never_reads:
                    await sending
                first = await reader.read(12)
                answers.append(first.decode()[9:12] or "closed")
                await asyncio.sleep(0.1)
                sending.cancel()
            if writer:
                writer.close()
            await asyncio.sleep(0.1)

    async def run():
        await asyncio.gather(*(client() for _ in range(KINDS[kind])))

    asyncio.run(run())


class Callers:
    """Callers without a pause between requests, for some seconds."""

    def __init__(self, address, seconds, number=4):
        self.seconds, self.bad = [], collections.Counter()
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=self._run, args=(address, until)) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run(self, address, until):
        client, count = KeptAlive(address), 0
        while (begun := time.monotonic()) < until:
            count += 1
            try:
                if count % 3:
                    status = client.ask("GET", "/leads/?limit=10")[0]
                else:
                    status = client.ask("POST", "/leads/", {"name": "Lead"})[0]
            except (CutError, ConnectionRefusedError) as error:
                status = str(error)
            self.seconds.append(time.monotonic() - begun)
            if status not in (200, 201):
                self.bad[status] += 1


class Memory:
    """The workers' memory in MB at most, shared pages counted in parts, while the block lasts."""

    def __init__(self, process):
        self._process, self._over = psutil.Process(process.pid), threading.Event()
        self.most = self.now()

    def now(self):
        total = 0
        for worker in self._process.children():
            with contextlib.suppress(psutil.Error):
                total += worker.memory_full_info().pss
        return total / 2**20

    def __enter__(self):
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *failure):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while not self._over.wait(0.5):
            self.most = max(self.most, self.now())


def send_too_much(address, size, chunked):
    """What a client hears that sends a body of `size` bytes and reads only then."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        try:
            if chunked:
                connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            else:
                connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % size)
            piece = b"x" * 2**16
            for _ in range(size // len(piece)):
                connection.sendall(b"10000\r\n" + piece + b"\r\n" if chunked else piece)
            connection.sendall(b"0\r\n\r\n" if chunked else b"")
            return connection.recv(12)[9:].decode() or "closed"
        except OSError as error:
            return type(error).__name__


def run(process, address, seconds):
    """Every kind of bad client, one after the other; whether all promises held."""
    right, quiet = True, Callers(address, seconds)
    usual = percentile(quiet.seconds, 99)
    memory = Memory(process).most
    print(f"quiet: {len(quiet.seconds) / seconds:.0f} requests/s, p99 {usual * 1e3:.1f} ms, "
          f"workers {memory:.0f} MB", flush=True)
    for kind, number in KINDS.items():
        with multiprocessing.Manager() as manager, Memory(process) as used:
            answers = manager.list()
            attacker = multiprocessing.Process(target=attack, args=(kind.__name__, address, answers))
            attacker.start()
            time.sleep(3)
            callers = Callers(address, seconds)
            attacker.terminate()
            attacker.join()
            heard = dict(collections.Counter(answers))
        p99 = percentile(callers.seconds, 99)
        right &= p99 < 10 * usual and not callers.bad and used.most < memory + 300
        print(f"    {number} × {kind.__name__}: {len(callers.seconds) / seconds:.0f} requests/s, "
              f"p99 {p99 * 1e3:.1f} ms ({p99 / usual:.1f} ×), slowest {max(callers.seconds):.2f} s, "
              f"refused {dict(callers.bad)}, they heard {heard}, workers {used.most:.0f} MB", flush=True)
        time.sleep(2)
    for size, chunked in ((12, False), (12, True), (100, False), (100, True)):
        heard = collections.Counter(send_too_much(address, size * 2**20, chunked) for _ in range(10))
        right &= set(heard) == {"413"}
        print(f"    {size} MB {'in chunks' if chunked else 'announced'}, sent without looking: {dict(heard)}")
    return right


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with postgres() as (server, folder):
        sql(server.url, "INSERT INTO leads (id, name, notes) SELECT gen_random_uuid(), 'Lead ' || n, "
                        "jsonb_build_object('text', repeat('x', 1000)) FROM generate_series(1, 3000) n")
        with behind_nginx(folder, DATABASE_URL=server.url, WEB_CONCURRENCY=2) as (process, caller):
            right = run(process, caller.address, options.seconds)
        log = (folder / "log").read_text()
        print(f"stacks in the service's log: {log.count('Traceback')}")
        if "Traceback" in log:
            print(log[log.index("Traceback") - 300:][:2500])
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
