"""The board: the page for salespeople, and the files that it is made of."""

from pathlib import Path

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from leads_service.web.description.route import PUBLIC, promise
from leads_service.web.description.shapes import as_text

blueprint = Blueprint("board", __name__)
_FOLDER = Path(__file__).parent / "board"
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css"}
# By name, as they were at start: no address leads to another file. What they hold is read when it is asked for.
_FILES = {path.relative_to(_FOLDER).as_posix(): path for path in _FOLDER.rglob("*") if path.suffix in _TYPES}
_POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
           "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


@blueprint.get("/board")
@promise(PUBLIC, {200: as_text("text/html")})
def board():
    """The board, the page for salespeople."""
    text = (_FOLDER / "index.html").read_text()
    if not request.path.endswith("/"):
        text = text.replace('="./', '="board/')  # relative all through: any prefix that a proxy gives it is right
    return _revalidated(Response(text, mimetype="text/html", headers={"Content-Security-Policy": _POLICY}))


@blueprint.get("/board/<rest:file>")
@promise(PUBLIC, {200: as_text(*_TYPES.values())}, fails=("not_found",))
def board_file(file):
    """A file that the board is made of."""
    if file not in _FILES:
        raise NotFound
    path = _FILES[file]
    return _revalidated(Response(path.read_bytes(), mimetype=_TYPES[path.suffix]))


def _revalidated(answer):
    """Browsers ask each time whether it changed, so that a deploy is seen at once, and by its content, whose time of
    change a deploy may have set to anything."""
    answer.headers["Cache-Control"] = "no-cache"
    answer.add_etag()
    return answer.make_conditional(request)
