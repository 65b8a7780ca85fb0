"""The gunicorn worker over real sockets: slow clients, large bodies, and leaving without losing a request."""

import collections
import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import threading
import time

import psutil
import pytest
from conftest import service, until
from gunicorn.config import Config

from leads_service.worker import Worker

HEAD = b"POST /leads/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LEAD = b'{"name": "Lead"}'
WHOLE = HEAD + b"Content-Length: 16\r\n\r\n" + LEAD


class Wire:
    """A connection on which bytes are sent as they are."""

    def __init__(self, caller):
        host, port = caller.address.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        self._answers = self._socket.makefile("rb")
        self.send = self._socket.sendall

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self._answers.close()
        self._socket.close()

    def answer(self):
        """(status, body) of the next answer; (0, "") when there will be none."""
        line = self._answers.readline()
        if not line:
            return 0, ""
        length = http.client.parse_headers(self._answers).get("Content-Length", 0)
        return int(line.split()[1]), self._answers.read(int(length)).decode()

    def status(self):
        return self.answer()[0]


# Clients that take their time.

@pytest.mark.parametrize("part", [
    b"", b"POST /leads/ HT", HEAD, HEAD + b"Content-Length: 100\r\n\r\n{",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n",
], ids=["nothing", "line", "head", "body", "chunk"])
def test_who_sends_slowly_keeps_nobody_waiting(api, part):
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(Wire(api)).send(part)
        begun = time.monotonic()
        for _ in range(10):
            assert api.get("/leads/").status == 200
        assert time.monotonic() - begun < 2


@pytest.mark.parametrize("rest", [
    b"Content-Length: 16\r\n\r\n" + LEAD,
    b"Transfer-Encoding: chunked\r\n\r\n8\r\n" + LEAD[:8] + b"\r\n8;x=y\r\n" + LEAD[8:] + b"\r\n0\r\nX-Sum: 1\r\n\r\n"])
def test_a_request_byte_by_byte(api, rest):
    with Wire(api) as wire:
        for _ in range(2):
            for byte in HEAD + rest:
                wire.send(bytes([byte]))
            assert wire.status() == 201


def test_requests_that_do_not_wait_for_answers(api):
    with Wire(api) as wire:
        wire.send(WHOLE * 3 + WHOLE[:50])
        assert [wire.status() for _ in range(3)] == [201] * 3
        wire.send(WHOLE[50:])
        assert wire.status() == 201
    assert api.get("/leads/").json["count"] == 4


def test_a_client_that_asks_before_it_sends_its_body(api):
    asking = HEAD + b"Content-Length: 16\r\nExpect: 100-continue\r\n\r\n"
    with Wire(api) as wire:
        wire.send(asking)
        assert wire.status() == 100
        wire.send(LEAD)
        assert wire.status() == 201
        wire.send(asking + LEAD)
        assert [wire.status(), wire.status()] == [100, 201]
        wire.send(asking.replace(b"16", b"99999999"))
        assert wire.status() == 413


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_too_much_before_it_looks(api, chunked):
    piece, count = b"x" * 2**20, 20
    with Wire(api) as wire:
        wire.send(HEAD + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: 20971520\r\n\r\n"))
        for _ in range(count):
            wire.send(b"100000\r\n" + piece + b"\r\n" if chunked else piece)
        status, body = wire.answer()
        assert (status, json.loads(body)["code"]) == (413, "too_large")
        assert wire.status() == 0  # and the connection ends


@pytest.mark.parametrize("body", [b"1\r\nxXX0\r\n", b"-1\r\n", b"zz\r\n", b"1\r\nx\r\n" * 1100])
def test_chunks_that_are_none(api, body):
    with Wire(api) as wire:
        wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        status, answer = wire.answer()
        assert (status, json.loads(answer)["code"]) == (400, "bad_request")


def test_a_body_that_nobody_reads_does_not_end_the_connection(api):
    with Wire(api) as wire:
        for _ in range(2):
            wire.send(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000)
            assert wire.status() == 404
        wire.send(WHOLE)
        assert wire.status() == 201


def test_what_does_not_arrive_is_given_up(migrated_url, tmp_path):
    conf = tmp_path / "conf.py"
    conf.write_text("from pathlib import Path\nexec(Path('gunicorn.conf.py').read_text())\n"
                    "worker_class.request_timeout = 0.5\nworker_class.max_held = 100_000\n")
    with service(tmp_path / "log", "-c", conf, DATABASE_URL=migrated_url, WEB_CONCURRENCY=1) as (_, caller):
        half = HEAD + b"Content-Length: 200000\r\n\r\n" + b"x" * 60_000
        with Wire(caller) as silent, Wire(caller) as slow, Wire(caller) as late:
            slow.send(half)
            time.sleep(0.2)
            late.send(half)
            status, body = late.answer()
            assert (status, json.loads(body)["code"]) == (503, "unavailable")
            status, body = slow.answer()
            assert (status, json.loads(body)["code"]) == (408, "request_timeout")
            assert silent.status() == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_connections_that_nobody_uses_make_room(migrated_url, tmp_path):
    with service(tmp_path / "log", "--worker-connections", "20", DATABASE_URL=migrated_url,
                 WEB_CONCURRENCY=1) as (_, caller), contextlib.ExitStack() as stack:
        for _ in range(22):
            stack.enter_context(Wire(caller))
        assert caller.make()


def test_workers_share_the_connections(migrated_url, tmp_path):
    with service(tmp_path / "log", DATABASE_URL=migrated_url, WEB_CONCURRENCY=2) as (process, caller):
        port = int(caller.address.split(":")[1])

        def shares():
            return [sum(each.laddr.port == port and each.status == "ESTABLISHED" for each in worker.net_connections())
                    for worker in psutil.Process(process.pid).children()]

        def largest_of_eight():
            until(lambda: not any(shares()))
            time.sleep(0.05)  # for the workers to have seen it, too
            with contextlib.ExitStack() as stack:
                wires = [stack.enter_context(Wire(caller)) for _ in range(8)]
                for wire in wires:
                    wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                assert {wire.status() for wire in wires} == {200}
                return max(shares())

        until(lambda: largest_of_eight() < 8)  # the second one is up
        # Evenly is 4, and was 4.1 in mean; left to the kernel, it was 5.8.
        assert statistics.mean(largest_of_eight() for _ in range(20)) < 5


# Reload and stop.

class Load(threading.Thread):
    """A client that keeps its connection, and opens one when the server has said that it would close it."""

    def __init__(self, caller):
        super().__init__()
        self.caller, self.answers, self.lost, self.refused = caller, collections.Counter(), [], False

    def run(self):
        connection = http.client.HTTPConnection(self.caller.address, timeout=10)
        with contextlib.closing(connection):
            while True:
                try:
                    connection.connect() if connection.sock is None else None
                    connection.request("POST", "/leads/", LEAD, {"Content-Type": "application/json"})
                    with connection.getresponse() as response:
                        response.read()
                        self.answers[response.status] += 1
                except ConnectionRefusedError:
                    return
                except (OSError, http.client.HTTPException) as error:
                    self.lost.append(repr(error))
                    return


def test_neither_reload_nor_stop_loses_a_request(db_url, tmp_path):
    with service(tmp_path / "log", DATABASE_URL=db_url, WEB_CONCURRENCY=2) as (process, caller):
        load = [Load(caller) for _ in range(6)]
        for one in load:
            one.start()
        for sent in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            time.sleep(0.7)
            process.send_signal(sent)
        process.wait(10)
        for one in load:
            one.join()
    assert [lost for one in load for lost in one.lost] == []
    answers = sum((one.answers for one in load), collections.Counter())
    assert set(answers) == {201}
    assert len(load) * 5 < answers[201]


def test_who_is_connected_when_it_stops_is_answered(db_url, tmp_path):
    with service(tmp_path / "log", DATABASE_URL=db_url, WEB_CONCURRENCY=1) as (process, caller):
        [worker] = psutil.Process(process.pid).children()
        worker.suspend()
        with contextlib.ExitStack() as stack:
            wires = [stack.enter_context(Wire(caller)) for _ in range(5)]  # the worker has not seen them yet
            for wire in wires:
                wire.send(WHOLE)
            process.terminate()
            time.sleep(0.2)
            worker.resume()
            assert [wire.status() for wire in wires] == [201] * 5


def test_a_signal_while_it_looks_after_its_parent_is_not_lost(monkeypatch):
    worker = Worker(1, os.getppid(), [], None, 30, Config(), None)
    worker.method_queue.init()

    def interrupted():
        worker.handle_exit(signal.SIGTERM, None)
        return worker.ppid

    monkeypatch.setattr(os, "getppid", interrupted)
    assert not worker.is_parent_alive()
    assert not worker.alive
    worker.method_queue.close()
    worker.tmp.close()
