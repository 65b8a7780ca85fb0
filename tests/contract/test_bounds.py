"""A lead is bounded; what is refused is named, shortened."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leads_service.contract.sizes import MAX_BYTES, fits, json_sizes
from real.postgres import sql

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10**30, 10**30) | st.floats(allow_nan=False, allow_infinity=False) |
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9), inner, max_size=6), max_leaves=15)


def refusal(api, **body):
    reply = api.call("POST", "/leads/", {"name": "x"} | body)
    assert reply.status == 422, reply
    return reply.json["detail"]


@settings(derandomize=True, max_examples=7, deadline=None)
@given(value=st.lists(JSON, min_size=30, max_size=30))
def test_no_value_is_larger_to_postgresql_than_it_is_taken_for(migrated_url, value):
    texts = [json.dumps(each) for each in value]
    rows = sql(migrated_url,
    "SELECT pg_column_size(t::jsonb), octet_length(t::jsonb::text) FROM unnest(%s::text[]) t", texts)
    for each, (stored, written) in zip(value, rows, strict=True):
        most_stored, most_written = json_sizes(each)
        assert stored <= most_stored + 16, each  # a value that is no object or list is stored as a list of one
        assert written <= most_written <= 2 * written + 6, each


@pytest.mark.parametrize("body", [
    {"notes": {"a": "x" * MAX_BYTES}}, {"notes": "é" * (MAX_BYTES // 2)}, {"notes": {"a": [1e308] * 1000}},
    {"activities": [{"a": 5e-324}] * 900}, {"activities": [{}] * 90_000}, {"notes": {"a": [1] * 40_000}},
    {"notes": {"a": [[]] * 60_000}}, {"notes": {"a": "\x01" * 50_000}}, {"notes": {"a": 10**4200,
    "b": [10**4200] * 70}}])
def test_a_large_lead_is_refused(api, body):
    assert set(refusal(api, **body)) == set(body)


def test_the_bound_is_of_the_three_together(api):
    parts = {"notes": {"a": "x" * 100_000}, "activities": [{"a": "y" * 100_000}],
    "tags": [f"{n:é>100}" for n in range(200)]}
    assert set(refusal(api, **parts | {"notes": {"a": "x" * 150_000}})) == set(parts)
    row = api.make(**parts)
    assert (row["notes"], row["activities"], row["tags"]) == tuple(parts.values())


@pytest.mark.parametrize("body", [
    {"notes": {"a": "x" * 262_000}}, {"notes": {"a": ["é" * 100] * 1200}}, {"activities": [{"type": "appel",
    "n": 12}] * 5000},
    {"notes": {"a": [10**308] * 800}}])
def test_what_fits_is_kept(api, body):
    row = api.make(**body)
    assert {name: row[name] for name in body} == body


def test_a_hostile_value_is_judged_soon():
    started = time.process_time()
    assert not fits({"a": [1e308] * 1_000_000})
    assert not fits({"a": [[]] * 1_000_000})
    assert not fits({"a": "x" * 10_000_000})
    assert time.process_time() - started < 10


def test_tags_are_bounded(api):
    assert set(refusal(api, tags=[str(n) for n in range(201)])) == {"tags"}
    assert refusal(api, tags=["a", "b" * 101]) == {"tags": ["Élément 1 : 100 caractères au plus."]}
    assert len(api.make(tags=[f"{n:x>100}" for n in range(200)] + ["0".rjust(100, "x")])["tags"]) == 200


def test_a_long_name_of_a_field_is_shortened(api):
    reply = api.call("POST", "/leads/", {"name": "x", "z" * 9_000_000: 1})
    assert (reply.status, list(reply.json["detail"])) == (422, ["z" * 60 + "…"])
    assert len(reply.body) < 1000
    name = b"z" * 4_000_000
    for raw in (b'{"%s": 1, "%s": 2}' % (name, name), b'{"a": %s}' % (b"1" * 4_000_000)):
        assert len(api.call("POST", "/leads/", raw=raw).body) < 1000
