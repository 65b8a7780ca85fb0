"""Which reads may go to the replica.

Two cookies tell, so that any number of workers and machines know: READER, set by a read, shows a caller that keeps
cookies; WRITER, set by a write and gone after MAX_LAG, one that has just written.
"""

from collections.abc import Callable

from flask import Flask, after_this_request, request

from leads_service.database.replica import MAX_LAG, replica

READER, WRITER = "leads_replica", "leads_wrote"


def register(app: Flask) -> None:
    """Have the answers of `app` set the cookies, and give the replica's connections back."""
    app.after_request(_mark_writer)
    app.teardown_appcontext(lambda _: replica.give_connection_back())


def read(ask: Callable):
    """What `ask()` gives, whose SQL goes to the replica if the caller's cookies and its own state allow it."""
    if not replica.configured:
        return ask()
    if READER not in request.cookies:
        after_this_request(lambda response: _with_cookie(response, READER))
        return ask()
    return ask() if WRITER in request.cookies else replica.ask(ask)


def _mark_writer(response):
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        # Whatever was answered: after a 504, say, the caller looks whether it was done. One second more, since some
        # clients count in whole ones.
        return _with_cookie(response, WRITER, MAX_LAG + 1)
    return response


def _with_cookie(response, name, max_age=None):
    response.set_cookie(name, "1", max_age=max_age, httponly=True, samesite="Lax")
    return response
