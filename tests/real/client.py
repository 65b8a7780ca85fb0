"""An HTTP client, and the shape of the failures that it is given."""

import contextlib
import functools
import http.client
import json
import socket
import urllib.parse

# What no answer may hold, whatever failed.
INNER_WORDS = (b"psycopg", b"traceback", b"select ", b"insert into", b"peewee", b"<html", b"detail:")


class Reply:
    """An HTTP answer."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @functools.cached_property
    def json(self):
        return json.loads(self.body)

    @property
    def data(self):
        return self.json["data"]

    @property
    def ids(self):
        return [row["id"] for row in self.data]

    def __repr__(self):
        return f"{self.status} {self.body[:500].decode(errors='replace')}"


class Caller:
    """An HTTP client for the service at `address` (host:port)."""

    def __init__(self, address):
        self.address = address

    def call(self, method, path, body=None, *, raw=None, headers=None):
        headers = dict(headers or {})
        if body is not None:
            raw = json.dumps(body)
        if raw is not None:
            headers = {"Content-Type": "application/json"} | headers
        connection = http.client.HTTPConnection(self.address, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, raw, headers)
            return Reply(connection.getresponse())

    def send(self, request):
        """The reply to these bytes."""
        host, port = self.address.split(":")
        with socket.create_connection((host, port), timeout=30) as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return Reply(response)

    def get(self, path, **query):
        query = "&".join(f"{name}={urllib.parse.quote(str(value))}" for name, value in query.items())
        return self.call("GET", path + ("?" + query if query else ""))

    def make(self, **fields):
        """The row of a new lead."""
        reply = self.call("POST", "/leads/", {"name": "Lead"} | fields)
        assert reply.status == 201, reply
        return reply.data


def failed(reply, status, code):
    """Assert the contract's shape and give the body."""
    body = reply.json
    assert (reply.status, body["success"], body["data"], body["code"]) == (status, False, None, code), reply
    assert body["error"]
    assert isinstance(body["detail"], dict) if status == 422 else body["detail"] == body["error"]
    assert reply.headers["Content-Type"] == "application/json"
    assert not any(word in reply.body.lower() for word in INNER_WORDS)
    return body


def is_failure(reply, status, code):
    body = reply.json
    return (reply.status == status and reply.headers["Content-Type"] == "application/json"
            and body == {"success": False, "data": None, "error": body["error"], "code": code, "detail": body["error"]})


def is_unavailable(reply):
    return is_failure(reply, 503, "unavailable") and int(reply.headers["Retry-After"]) > 0
