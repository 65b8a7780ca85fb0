"""No acknowledged write is lost, none is applied twice, whatever is killed.

    .venv/bin/python bench/ledger.py [--faults 40] [--clients 6] [--seed N]

Behind nginx, clients create, change, convert and delete leads of their own without pause and note in a ledger what they
were answered, while at random a worker is killed (SIGKILL), the PostgreSQL postmaster is killed (SIGKILL; it then
recovers from its log), or gunicorn is reloaded (SIGHUP). A write without an answer is repeated with the same id and
e-mail, so that one that was applied nevertheless shows; leads without both are made too, once each. Afterwards the
table must be the ledger: every lead is as its last acknowledged answer said, or as one of the unacknowledged writes
since asked for; deleted ones are gone, nobody else is there, and no lead has two clients. Every other answer must have
been a 503 or 504 with the contract's body, or a connection that was cut while a worker was being killed. Prints the
figures; exit status 1 when anything else happened.
"""

import argparse
import collections
import json
import random
import signal
import sys
import threading
import time
import uuid

import psutil

from clients import CutError, KeptAlive, postgres
from real.nginx import behind_nginx
from real.postgres import sql

FAILURE = {"success", "data", "error", "code", "detail"}


class Client:
    """One writer with leads of its own: its ledger is {id: [the acknowledged row or None, changes since]}."""

    def __init__(self, address, number, over):
        self.ledger = {}
        self.made_once = {}  # name of a lead without id and e-mail: the acknowledged row or None
        self.answers = collections.Counter()
        self.cuts, self.faults = [], []
        self._client, self._number, self._over = KeptAlive(address), number, over
        self._random = random.Random(number)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self):
        """Wait for its last answer."""
        self._thread.join(60)

    def compare(self, lead, found):
        """Note what `found`, the row in the table or None, cannot be."""
        row, changes = self.ledger[lead]
        if not changes:
            if found != row:
                self.faults.append(f"{lead} is {found}, was answered {row}")
        elif found is None:
            if row and None not in changes:
                self.faults.append(f"{lead} is gone, was answered {row}")
        else:
            # Each field is as answered, or as one of the changes without an answer asked for; nothing else moves.
            for name, value in found.items():
                allowed = [change[name] for change in [row, *changes] if change and name in change]
                free = name in ("updated_at", "client_id", "created_at") or (not row and name not in changes[0])
                if not free and value not in allowed:
                    self.faults.append(f"{lead}: {name} is {value!r}, none of {allowed}")

    def _run(self):
        while not self._over.is_set():
            alive = [lead for lead, (row, _) in self.ledger.items() if row]
            action = self._random.random()
            if action < 0.1:
                self._create_once()
            elif not alive or action < 0.35:
                self._create()
            elif action < 0.85:
                self._update(self._random.choice(alive))
            elif action < 0.93:
                self._convert(self._random.choice(alive))
            else:
                self._delete(self._random.choice(alive))

    def _ask(self, method, path, body=None):
        """(status, body) of an answer; (None, None) when it is unknown whether the request was carried out."""
        begun = time.monotonic()
        try:
            status, headers, raw = self._client.ask(method, path, body)
        except (CutError, ConnectionRefusedError) as error:
            self.cuts.append((begun, time.monotonic(), f"{method} {error}"))
            time.sleep(0.05)
            return None, None
        self.answers[status] += 1
        answer = json.loads(raw)
        if status in (503, 504):
            code = {"unavailable", "busy"} if status == 503 else {"timeout"}
            if set(answer) != FAILURE or answer["code"] not in code or (status == 503 and "Retry-After" not in headers):
                self.faults.append(f"{method} {status} {answer}")
            time.sleep(self._random.uniform(0, 0.3))
            return None, None
        return status, answer

    def _create(self):
        lead = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        body = {"id": lead, "name": f"Lead {self._number}", "email": f"{lead}@example.com", "city": "0"}
        self.ledger[lead] = [None, [body]]
        for attempt in range(1000):
            status, answer = self._ask("POST", "/leads/", body)
            if status == 201:
                self.ledger[lead] = [answer["data"], []]
            elif status == 409 and attempt:
                # An attempt without an answer was applied after all: once, and as it was sent.
                if answer.get("existing_id", lead) != lead:
                    self.faults.append(f"409 about another lead: {answer}")
                self._look(lead)
            elif status is not None:
                self.faults.append(f"POST {status} {answer}")
            if status is not None or self._over.is_set():
                return

    def _create_once(self):
        name = f"{self._number}-{len(self.made_once)}"
        status, answer = self._ask("POST", "/leads/", {"name": name})
        self.made_once[name] = answer["data"] if status == 201 else None
        if status not in (201, None):
            self.faults.append(f"POST {status} {answer}")

    def _look(self, lead):
        for _ in range(1000):
            status, answer = self._ask("GET", f"/leads/{lead}")
            if status == 200:
                self.compare(lead, answer["data"])
                self.ledger[lead] = [answer["data"], []]
            elif status is not None:
                self.faults.append(f"GET {status} {answer}")
            if status is not None or self._over.is_set():
                return

    def _update(self, lead):
        count = self.answers.total()
        body = {"city": str(count), "interest_level": count % 101}
        self.ledger[lead][1].append(body)
        status, answer = self._ask(self._random.choice(["PUT", "PATCH"]), f"/leads/{lead}", body)
        if status == 200:
            if any(answer["data"][name] != value for name, value in body.items()):
                self.faults.append(f"a 200 that is not what was asked for: {body} {answer}")
            self.ledger[lead] = [answer["data"], []]
        elif status is not None:
            self.faults.append(f"PUT {status} {answer}")

    def _convert(self, lead):
        self.ledger[lead][1].append({"status": "converti", "stage": "won"})
        status, answer = self._ask("POST", f"/leads/{lead}/convert")
        if status == 200:
            known = self.ledger[lead][0].get("client_id")
            if known not in (None, answer["data"]["client_id"]):
                self.faults.append(f"a second client: {known} {answer}")
            self._look(lead)
        elif status is not None:
            self.faults.append(f"convert {status} {answer}")

    def _delete(self, lead):
        self.ledger[lead][1].append(None)
        for _ in range(1000):
            status, answer = self._ask("DELETE", f"/leads/{lead}")
            # nginx itself repeats what may be repeated when a worker is killed: 404 then is of a lead that is gone.
            if status in (200, 404):
                self.ledger[lead] = [None, []]
            elif status is not None:
                self.faults.append(f"DELETE {status} {answer}")
            if status is not None or self._over.is_set():
                return


def workers(process):
    return psutil.Process(process.pid).children()


def disturb(process, server, count, dice, said):
    """`count` faults at random moments; gives the times at which workers were killed."""
    kills, done = [], collections.Counter()
    while done.total() < count:
        time.sleep(dice.uniform(0.3, 2.5))
        fault = dice.choices(["worker", "postmaster", "reload"], [5, 3, 3])[0]
        if fault == "worker":
            # Never while it boots: that is gunicorn's reason to give up.
            candidates = [one for one in workers(process) if time.time() - one.create_time() > 3]
            if not candidates:
                continue
            kills.append(time.monotonic())
            dice.choice(candidates).kill()
        elif fault == "postmaster":
            server.kill()
            time.sleep(dice.uniform(0.2, 1.2))
            server.start()
        else:
            process.send_signal(signal.SIGHUP)
        done[fault] += 1
        if said:
            print(f"\r{done.total()} faults", end="", flush=True)
    print("\r", end="")
    return kills, done


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    with postgres() as (server, folder):
        begun, over = time.monotonic(), threading.Event()
        with behind_nginx(folder, DATABASE_URL=server.url, WEB_CONCURRENCY=3) as (process, caller):
            clients = [Client(caller.address, number, over) for number in range(options.clients)]
            kills, done = disturb(process, server, options.faults, random.Random(options.seed), sys.stdout.isatty())
            time.sleep(2)
            over.set()
            for client in clients:
                client.join()
            reader = KeptAlive(caller.address)
            table = {lead: json.loads(reader.ask("GET", f"/leads/{lead}")[2])["data"]
                     for (lead,) in sql(server.url, "SELECT id::text FROM leads")}
        faults = judge(clients, table, kills, server.url)
        answers = sum((client.answers for client in clients), collections.Counter())
        cuts = sum(len(client.cuts) for client in clients)
        unsettled = sum(bool(changes) for client in clients for _, changes in client.ledger.values())
        print(f"{time.monotonic() - begun:.0f} s, seed {options.seed}, {sum(done.values())} faults {dict(done)}")
        print(f"answers {dict(sorted(answers.items()))}, {cuts} connections cut")
        print(f"{len(table)} leads in the table, {unsettled} in the ledger without a last answer")
        print(f"{len(faults)} violations")
        for fault in faults[:20]:
            print("   ", fault[:400])
        log = (folder / "log").read_text()
        print(f"stacks in the service's log: {log.count('Traceback')}")
        if "Traceback" in log:
            print(log[max(0, log.index("Traceback") - 500):][:3000])
    return 1 if faults else 0


def judge(clients, table, kills, url):
    faults = [fault for client in clients for fault in client.faults]
    known = set()
    for client in clients:
        known |= set(client.ledger)
        client.faults = []
        for lead in client.ledger:
            client.compare(lead, table.get(lead))
        faults += client.faults
        for begun, ended, what in client.cuts:
            if not any(begun - 0.5 < kill < ended + 0.5 for kill in kills):
                faults.append(f"cut although no worker was killed: {what}")
    once = {name: row for client in clients for name, row in client.made_once.items()}
    times = collections.Counter(row["name"] for row in table.values())
    faults += [f"{name} was made {times[name]} times" for name in once if times[name] > 1]
    faults += [f"{row['id']} is not as answered" for row in once.values() if row and table.get(row["id"]) != row]
    known |= {row["id"] for row in table.values() if row["name"] in once}
    faults += [f"{lead} is nobody's" for lead in set(table) - known]
    faults += [f"client {client} of {count} leads" for client, count in sql(
        url, "SELECT client_id, count(*) FROM leads WHERE client_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1")]
    faults += [f"{count} clients with the e-mail {email}" for email, count in sql(
        url, "SELECT email, count(*) FROM clients GROUP BY 1 HAVING count(*) > 1")]
    return faults


if __name__ == "__main__":
    sys.exit(main())
