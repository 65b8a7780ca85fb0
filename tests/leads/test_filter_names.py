"""A filter that one of its places forgets would answer every lead: it stops the service instead."""

import subprocess
import sys

import pytest

from leads_service.contract.lists import FILTERS, ListQuery, SelectionQuery
from real.service import ROOT


@pytest.mark.parametrize("change", ["lists.FILTERS += ('contact',)", "lists.FILTERS = lists.FILTERS[1:]"])
def test_a_filter_without_sql_or_without_a_parameter_stops_the_import(change):
    done = subprocess.run(
        [sys.executable, "-c",
         f"from leads_service.contract import lists; {change}; import leads_service.leads.filters"],
        cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "filters.py differ in {" in done.stderr


def test_every_parameter_that_selects_is_a_filter():
    class WithOneMore(SelectionQuery):
        contact = SelectionQuery().fields["owner"].__class__()

    assert {*WithOneMore().fields} - {*FILTERS} == {"contact", "q"}
    assert {*ListQuery().fields} - {*FILTERS} == {"q", "limit", "offset", "cursor", "sort", "count"}
