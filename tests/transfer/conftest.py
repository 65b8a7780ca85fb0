"""A file to import, and the two ways of importing it: in this process and over HTTP."""

import pytest

from leads_service.contract.lead import LeadBody
from leads_service.transfer.importing import import_leads
from leads_service.transfer.opening import open_source


@pytest.fixture
def bring(own):
    """A function that imports in this process: (report, [(line, column, code)])."""

    def from_file(source, **options):
        rejects = []
        with open_source(str(source)) as opened:
            report = import_leads(own, opened, LeadBody(), None, **options,
                                  reject=lambda row, fault: rejects.append((row.line, fault.column, fault.code)))
        return report, rejects
    return from_file


@pytest.fixture
def write(tmp_path):
    def to_file(text, name="leads.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path
    return to_file


@pytest.fixture
def post(api):
    """A function that imports a body over HTTP and gives the report."""
    def send(body, kind="text/csv", **query):
        query = "&".join(f"{name}={value}" for name, value in query.items())
        return api.call("POST", f"/leads/import?{query}", raw=body if isinstance(body, bytes) else body.encode(),
                        headers={"Content-Type": kind})
    return send
