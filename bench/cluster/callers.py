"""Writers and readers through the front, what each was answered, and what is left of what they were told."""

import collections
import http.client
import http.cookies
import itertools
import json
import threading
import time

PAUSE = 0.03  # seconds between two requests of one caller: two cores are not to be the fault that is measured


class Answer(collections.namedtuple("Answer", "asked answered method status code")):
    """What one request was answered when; status 0: the connection ended without an answer."""


class Caller(threading.Thread):
    """One caller on a kept connection, who keeps cookies as a browser does."""

    def __init__(self, address, key, over, cookies=True):
        super().__init__(daemon=True)
        self._address, self._over, self._cookies = address, over, {} if cookies else None
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._connection = None
        self.answers = []

    def ask(self, method, path, body=None):
        """(status, the answer's JSON), noted."""
        now = asked = time.monotonic()
        headers = dict(self._headers)
        if self._cookies is None:
            headers["Cookie"] = "leads_replica=1"
        elif kept := [f"{name}={value}" for name, (value, until) in self._cookies.items() if until > now]:
            headers["Cookie"] = "; ".join(kept)
        status, answer = 0, {}
        try:
            self._connection = self._connection or http.client.HTTPConnection(self._address, timeout=30)
            self._connection.request(method, f"/api{path}", body and json.dumps(body), headers)
            reply = self._connection.getresponse()
            status, answer = reply.status, json.loads(reply.read())
            self._keep(reply.headers.get_all("Set-Cookie", []))
        except (OSError, http.client.HTTPException, ValueError) as error:
            answer = {"code": type(error).__name__}
        if not status:
            self._connection.close()
            self._connection = None
        self.answers.append(Answer(asked, time.monotonic(), method, status, answer.get("code", "")))
        time.sleep(PAUSE if status else 3 * PAUSE)
        return status, answer

    def _keep(self, lines):
        for line in lines if self._cookies is not None else ():
            for name, cookie in http.cookies.SimpleCookie(line).items():
                lasts = float(cookie["max-age"]) if cookie["max-age"] else float("inf")
                self._cookies[name] = cookie.value, time.monotonic() + lasts


class Writer(Caller):
    """Makes a lead, changes its city to higher and higher numbers, and looks at it after each change."""

    def __init__(self, number, *arguments, **options):
        super().__init__(*arguments, **options)
        self.number = number
        self.acknowledged = {}  # lead: [(when answered, number)], numbers from 0
        self.back = []  # what was read of a change that had been acknowledged: (when, lead, number seen, at least)

    def run(self):
        lead = None
        for count in itertools.count():
            if self._over.is_set():
                return
            if lead is None or count % 20 == 0:
                status, answer = self.ask("POST", "/leads/", {"name": f"Lead {self.number}", "city": str(count)})
                lead = answer["data"]["id"] if status == 201 else None
                if lead:
                    self.acknowledged[lead] = [(time.monotonic(), count)]
                continue
            status, _ = self.ask("PATCH", f"/leads/{lead}", {"city": str(count)})
            if status == 200:
                self.acknowledged[lead].append((time.monotonic(), count))
            elif status == 404:  # lost; judged later
                lead = None
                continue
            status, answer = self.ask("GET", f"/leads/{lead}")
            seen = int(answer["data"]["city"]) if status == 200 else -1
            if status in (200, 404) and seen < (least := self.acknowledged[lead][-1][1]):
                self.back.append((time.monotonic(), lead, seen, least))


class Reader(Caller):
    """Reads pages and single leads of them."""

    def run(self):
        for count in itertools.count():
            if self._over.is_set():
                return
            status, answer = self.ask("GET", "/leads/?limit=20")
            if status == 200 and answer["data"]:
                self.ask("GET", f"/leads/{answer['data'][count % len(answer['data'])]['id']}")


class Crowd:
    """Eight writers and eight readers, for as long as the block lasts."""

    def __init__(self, cluster, writers=8, readers=8, cookies=True):
        self.over = threading.Event()
        arguments = cluster["front"].address, cluster.keys["editor"], self.over
        self.writers = [Writer(number, *arguments, cookies=cookies) for number in range(writers)]
        self._callers = [*self.writers, *(Reader(*arguments, cookies=cookies) for _ in range(readers))]

    def __enter__(self):
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *failure):
        self.over.set()
        for caller in self._callers:
            caller.join(60)

    def answers(self, since, until=float("inf")):
        """What was answered within that time, as it came."""
        found = [answer for caller in self._callers for answer in list(caller.answers)
                 if since <= answer.answered <= until]
        return sorted(found, key=lambda answer: answer.answered)

    def writes_again(self, since):
        """Whether a write was acknowledged after that moment."""
        return any(answer.status in (200, 201) and answer.method != "GET" and answer.asked >= since
                   for writer in self.writers for answer in writer.answers[-3:])

    def gap(self, since, until, methods):
        """The longest time in which no request of the methods was served, in seconds."""
        served = [answer.answered for answer in self.answers(since, until)
                  if answer.method in methods and answer.status in (200, 201)]
        return max(after - before for before, after in itertools.pairwise([since, *served, until]))

    def lost(self, there, since=0.0):
        """The acknowledged writes of later than `since` that {lead: number} of the database lacks."""
        return [(when, lead, number) for writer in self.writers for lead, writes in writer.acknowledged.items()
                for when, number in writes if when >= since and there.get(lead, -1) < number]

    def went_back(self, lost):
        """Reads that showed less than their caller had been told, save of writes that are lost for good."""
        gone = {lead for _, lead, _ in lost}
        return [each for writer in self.writers for each in writer.back if each[1] not in gone]


def there(cluster):
    """{lead: its number} in the database that is primary."""
    rows = cluster.psql(cluster.primary(), "\\c leads", "SELECT id || ' ' || city FROM leads").splitlines()
    return {lead: int(number) for lead, _, number in (row.partition(" ") for row in rows) if number.isdigit()}
