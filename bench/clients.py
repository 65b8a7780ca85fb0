"""What ledger.py, outage.py, reload.py and slow.py share: a client that keeps its connection, and a PostgreSQL."""

import contextlib
import http.client
import json
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / place) for place in ("", "tests")]

from leads_service.database import migrator
from real.postgres import connected
from real.replication import make_primary


@contextlib.contextmanager
def postgres(make=make_primary):
    """A migrated PostgreSQL of `make` in a folder that goes with it; yields (server, folder)."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        server = make(folder / "pg")
        try:
            with connected(server.url) as own:
                list(migrator.up(own))
            yield server, folder
        finally:
            server.kill()


class CutError(Exception):
    """A connection that ended without an answer; `reused` when it had served another request before."""

    def __init__(self, error, reused):
        super().__init__(f"{type(error).__name__}: {error}")
        self.reused = reused


class KeptAlive:
    """An HTTP client that keeps its connection, and takes a new one when nginx has closed it."""

    def __init__(self, address, timeout=60):
        self._connection = http.client.HTTPConnection(address, timeout=timeout)

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, bytes of the body); raises CutError, and ConnectionRefusedError when nobody listens."""
        reused = self._connection.sock is not None
        headers = dict(headers or {})
        if body is not None:
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        try:
            if not reused:
                self._connection.connect()
            self._connection.request(method, f"/api{path}", body, headers)
            response = self._connection.getresponse()
            return response.status, response.headers, response.read()
        except ConnectionRefusedError:
            self._connection.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise CutError(error, reused) from error

    def close(self):
        """Close the connection."""
        self._connection.close()


def percentile(values, percent):
    """The value below which `percent` per cent of `values` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")
