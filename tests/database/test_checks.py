"""The words that PostgreSQL lets in are those of the vocabulary."""

import re

import pytest

from leads_service.contract.vocabulary import STAGES, STATUSES
from real.postgres import sql


@pytest.mark.parametrize(("constraint", "words"), [("ck_leads_status_values", STATUSES),
                                                   ("ck_leads_stage_values", STAGES)])
def test_the_database_lets_in_the_words_of_the_vocabulary(migrated_url, constraint, words):
    ((rule,),) = sql(migrated_url, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", constraint)
    assert sorted(re.findall("'([^']*)'", rule)) == sorted(words)
