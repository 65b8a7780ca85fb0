"""How addresses are matched."""

from werkzeug.routing import PathConverter


class Rest(PathConverter):
    """The rest of a path, whatever it holds: Werkzeug's own takes no line break and no slash at its beginning."""

    part_isolating = False
    regex = "(?s:.+)"
