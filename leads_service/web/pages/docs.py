"""The API's description and the page that shows it."""

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, current_app, request, send_from_directory

from leads_service.web.description.route import PUBLIC, promise
from leads_service.web.description.shapes import as_text

blueprint = Blueprint("docs", __name__)
_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"

# Relative addresses all through: the page works under any prefix that a proxy gives it.
_PAGE = """<!doctype html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Leads – API</title>
<link rel="icon" href="{root}docs/favicon-32x32.png">
<link rel="stylesheet" href="{root}docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="{root}docs/swagger-ui-bundle.js"></script>
<script src="{root}docs/start.js" data-openapi="{root}openapi.json"></script>
</body>
</html>
"""
# Its scripts and styles are files of this service; nothing is loaded from or sent to anywhere else.
_POLICY = ("default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
           "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
_START = """const url = document.currentScript.dataset.openapi;
SwaggerUIBundle({url, dom_id: "#ui", deepLinking: true, tryItOutEnabled: true, validatorUrl: null});
"""


@blueprint.get("/openapi.json")
@promise(PUBLIC, {200: {"application/json": {"type": "object"}}})
def description():
    """This description, OpenAPI 3.1."""
    return Response(current_app.extensions["leads_openapi"], mimetype="application/json")


@blueprint.get("/docs")
@promise(PUBLIC, {200: as_text("text/html")})
def page():
    """The description as an interactive page."""
    return Response(_PAGE.format(root="../" if request.path.endswith("/") else ""), mimetype="text/html",
                    headers={"Content-Security-Policy": _POLICY})


@blueprint.get("/docs/<file>")
@promise(PUBLIC, {200: as_text("text/javascript", "text/css", "text/html", "image/png")}, fails=("not_found",))
def page_file(file):
    """A file that the page is made of."""
    if file == "start.js":
        return Response(_START, mimetype="text/javascript")
    return send_from_directory(_SWAGGER_UI, file, max_age=86400)
