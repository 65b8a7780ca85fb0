"""A cursor that no list wrote is a 422 that names it, whatever its keys hold."""

import itertools

import pytest
from marshmallow import ValidationError
from werkzeug.datastructures import MultiDict

from leads_service.contract.lists import SORTS, Cursor, ListQuery, load_query

ID = "f3b1a0a2-5b1f-4a57-9c30-3f0b5f3ad000"
RIGHT = {"timestamptz": "2025-01-01T10:00:00+00:00", "uuid": ID, "text": "Zoé", "int": "7", "real": "0.33333334",
         "step": "2025-10-31"}
READ = {"step": "20251031"}  # where PostgreSQL reads it in another form
FORGED = {
    "timestamptz": ["2025-01-01", "2025-01-01T10:00:00", "now", "infinity", "", "x", "0001-01-01T00:00:00+23:59",
                    "9999-12-31T23:59:59-23:59", 5, None, "2025-01-01T10:00:00+00:00\0"],
    "uuid": ["", "x", "1_" + "0" * 30, ID + "0", "urn:uuid:" + ID, None, 7],
    "text": [None, 7, [], "a\0b", "\ud800"],
    "int": ["1_0", "x", "", " 7", "7.5", "9" * 10, "9" * 5000, "٣", None, 7, True],
    "step": ["", "x", "None", "2025-1-1", "20251031", "2025-10-31 ", None, 7],
    "real": ["nan", "inf", "-1", "1e400", "1e300", "1e-60", "2", "", "x", "1_0", None, 0.5],
}


def load(sort, keys):
    query = MultiDict([("sort", sort), *([("q", "a")] if sort == "relevance" else [])])
    identity = load_query(ListQuery(), query).identity
    query["cursor"] = Cursor(identity, keys).encode()
    return load_query(ListQuery(), query)


@pytest.mark.parametrize("sort", SORTS)
def test_forged_keys_name_the_cursor(sort):
    right = [RIGHT[kind] for kind in SORTS[sort].values()]
    assert [*load(sort, right).cursor.keys] == [READ.get(kind, RIGHT[kind]) for kind in SORTS[sort].values()]
    for place, kind in enumerate(SORTS[sort].values()):
        for forged in FORGED[kind]:
            with pytest.raises(ValidationError) as raised:
                load(sort, [*right[:place], forged, *right[place + 1:]])
            assert [*raised.value.messages] == ["cursor"], (kind, forged)
    for keys in (right[:-1], [*right, ID], [], "ab", None, {}):
        with pytest.raises(ValidationError) as raised:
            load(sort, keys)
        assert [*raised.value.messages] == ["cursor"], keys


# Accepted by Python's parsers, in a form that PostgreSQL reads otherwise or not at all: handed on in one that it reads.
@pytest.mark.parametrize(("kind", "typed", "read"), [
    ("timestamptz", "2025-W01-1T00:00:00Z", "2024-12-30T00:00:00+00:00"),
    ("timestamptz", "20250101T100000+1730", "2024-12-31T16:30:00+00:00"),
    ("uuid", "{" + ID.upper() + "}", ID), ("step", "2025-02-31", "20250231"), ("step", "none", "100000000")])
def test_what_is_read_is_handed_on_as_postgresql_reads_it(kind, typed, read):
    for sort in itertools.islice((sort for sort in SORTS if kind in SORTS[sort].values()), 1):
        kinds = [*SORTS[sort].values()]
        keys = [typed if each == kind else RIGHT[each] for each in kinds]
        assert load(sort, keys).cursor.keys[kinds.index(kind)] == read
