"""Where nobody is asked who they are, a browser's other pages may not write.

Some writes need neither a body nor a header that a browser would ask leave for first, so that any page that somebody
has open could have them done (cross-site request forgery).
"""

from urllib.parse import urlsplit

from flask import Flask, request

from leads_service.contract.problems import Problem
from leads_service.contract.sentences import Sentence

FOREIGN_PAGE = Sentence("Cette page n'est pas autorisée à modifier les leads.",
                        "This page may not change leads.")


def register(app: Flask, allowed: tuple[str, ...]) -> None:
    """Refuse the writes to `app` that a browser sends for a page of another origin, save those `allowed`."""

    @app.before_request
    def refuse_foreign_pages():
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        # What a browser itself says counts more: a proxy may have changed the Host that the origin is compared with.
        foreign = site not in ("same-origin", "none") if site else origin and urlsplit(origin).netloc != request.host
        if foreign and origin not in allowed:
            raise Problem("forbidden", FOREIGN_PAGE)
