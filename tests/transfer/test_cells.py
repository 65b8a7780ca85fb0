"""A cell's text as a value."""

import pytest

from leads_service.transfer.files.cells import parse_array


@pytest.mark.parametrize(("literal", "items"), [
    ("{}", []), (" { } ", []), ("{a}", ["a"]), ('{a, b c ,"d,e"}', ["a", "b c", "d,e"]),
    ('{"a\\"b","c\\\\d"}', ['a"b', "c\\d"]),
    ('{NULL,"NULL",""}', [None, "NULL", ""]), ("{é😀}", ["é😀"]), ("{a\\,b}", ["a,b"])])
def test_array_literals(literal, items):
    assert parse_array(literal) == items


@pytest.mark.parametrize("literal", ["", "a", "{a", "a}", "{a}b", '{"a}', "{a,}", "{,a}", "{{a}}", '{"a"b}', "[a]"])
def test_malformed_array_literals(literal):
    with pytest.raises(ValueError, match="array literal"):
        parse_array(literal)
