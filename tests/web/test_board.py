"""How the board's page and files are served; tests/board/ has what they do in a browser."""

import re
import urllib.parse

import pytest

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


def test_the_page_may_load_what_is_its_own_and_nothing_else(running):
    page = running.get("/board")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["Content-Security-Policy"] == POLICY
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert not re.search(rb"<script>| style=| on\w+=", page.body)


@pytest.mark.parametrize("address", ["/board", "/board/"])
def test_its_addresses_hold_under_any_prefix(running, address):
    found = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', running.get(address).body.decode())
    assert len(found) >= 2
    for target in found:
        whole = urllib.parse.urljoin(f"/prefix{address}", target)
        assert whole.startswith("/prefix/board/"), target
        assert running.get(whole.removeprefix("/prefix")).status == 200


def test_its_files_are_told_by_their_names_what_they_are(running):
    for file, mimetype in (("board.css", "text/css; charset=utf-8"), ("main.js", "text/javascript; charset=utf-8")):
        reply = running.get(f"/board/{file}")
        assert (reply.status, reply.headers["Content-Type"]) == (200, mimetype)


@pytest.mark.parametrize("path", ["/board", "/board/", "/board/board.css"])
def test_a_browser_asks_each_time_and_hears_that_nothing_changed(running, path):
    first = running.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    for tag in (first.headers["ETag"], f"W/{first.headers['ETag']}"):
        again = running.call("GET", path, headers={"If-None-Match": tag})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert running.call("GET", path, headers={"If-None-Match": '"another"'}).body == first.body


def test_the_index_names_it(running):
    assert running.get("/" + running.get("/").data["board"]).status == 200
