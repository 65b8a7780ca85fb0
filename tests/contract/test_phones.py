"""How phone numbers are stored."""

import pytest

from leads_service.contract.lead import LeadBody
from leads_service.contract.phones import normal_phone


@pytest.mark.parametrize(("typed", "stored"), [
    ("06 12 34 56 78", "+33612345678"), ("04.30.00-48.77", "+33430004877"), ("04/30/00 48 77", "+33430004877"),
    ("+33 6 12 34 56 78", "+33612345678"), ("0044 20 7946 0958", "+442079460958"), ("(0)6 12", "+33612"),
    ("+33 (0)6 12 34 56 78", "+33612345678"), ("0033(0)612", "+33612"), ("06\u00a012\u202f34\u201156", "+336123456"),
    ("+33...", "+33"), ("poste 12", "poste12"), ("--", None), ("1" * 50, "1" * 50)])
def test_phones_are_normalised_once_and_for_all(typed, stored):
    body = LeadBody()
    assert body.load({"name": "Lead", "phone": typed})["phone"] == stored
    assert body.load({"name": "Lead", "phone": stored})["phone"] == stored
    assert normal_phone(typed, "+33") == (stored or "")
