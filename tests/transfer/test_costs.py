"""What a file may cost: when an import ends by itself, and what is held of files made to be dear. Work is counted."""

import io
import types

import pytest

from leads_service.contract.lead import LeadBody
from leads_service.contract.problems import Problem
from leads_service.contract.strict_json import MAX_VALUES, parse_json
from leads_service.transfer import importing, rows
from leads_service.transfer.files import columns, csv_rows, json_rows
from leads_service.transfer.files.reading import read
from leads_service.transfer.importing import ImportStopped, import_leads
from leads_service.transfer.rows import Reader
from leads_service.transfer.sources import SourceError
from leads_service.web.requests.uploads import Watched, demand_of
from real.postgres import connected, sql, with_options
from real.service import until
from real.workbooks import workbook

NOBODY = types.SimpleNamespace(environ={})
MANY = "0," * MAX_VALUES + "0"


def test_an_import_ends_by_the_processor_time_of_its_threads():
    for limits, beside in (((1000, 0), 0), ((1000, 500), 500.1)):
        with pytest.raises(Problem) as raised:
            demand_of(NOBODY, *limits)(beside)
        assert (raised.value.code, "processeur" in raised.value.sentence) == ("timeout", True)
    demand_of(NOBODY, 1000, 500)(499)
    with pytest.raises(Problem) as raised:
        demand_of(NOBODY, 0, 500)()
    assert "processeur" not in raised.value.sentence


def test_what_the_writing_thread_has_used_is_told(own, monkeypatch):
    monkeypatch.setattr(importing, "BATCH", 100)
    monkeypatch.setattr(importing, "_LOOK", 0)
    told = []
    import_leads(own, read(io.BytesIO(b"name\n" + b"x\n" * 500)), LeadBody(), None, reject=lambda row, fault: None,
                 demand=told.append)
    assert told == sorted(told)
    assert 0 < told[-1] < 60


def test_only_rows_with_an_email_are_looked_for_by_it(db_url):
    with connected(with_options(db_url, "-c track_functions=all")) as own:
        for body in (b"name\nx\n", b"name,email\nx,x@b.fr\n", b"name\n" + b"y\n" * 500):
            import_leads(own, read(io.BytesIO(body)), LeadBody(), None, reject=lambda row, fault: None)
    told = "SELECT calls FROM pg_stat_user_functions WHERE funcname = 'leads_holding' AND calls > 0"
    assert until(lambda: sql(db_url, told)) == [(1,)]


def test_who_uploads_too_dear_a_file_is_told_what_was_done(own, monkeypatch):
    monkeypatch.setattr(importing, "BATCH", 100)
    monkeypatch.setattr(importing, "_LOOK", 0)
    demand = demand_of(NOBODY, 1000, 0.3)
    with pytest.raises(ImportStopped) as raised:
        import_leads(own, read(io.BytesIO(b"name\n" + b"x\n" * 500_000)), LeadBody(), None, demand=demand,
                     reject=lambda row, fault: None)
    assert raised.value.__cause__.code == "timeout"
    assert raised.value.line == (raised.value.report.rows + 2 if raised.value.report.rows else 1)


@pytest.mark.parametrize("body", [
    b"name\n" + b"\n" * 2**18, b"[" + b" " * 2**18 + b"]", workbook('<row r="{n}"/>', 10**5)],
    ids=["blank lines", "blanks", "empty rows"])
def test_a_file_without_rows_is_stopped_too(body):
    asked = []
    assert list(read(Watched(io.BytesIO(body), lambda: asked.append(1))).rows) == []
    before = len(asked)
    assert before >= 3

    def demand():
        asked.append(1)
        if len(asked) == 2 * before - 1:
            raise Problem("timeout")

    with pytest.raises(Problem):
        list(read(Watched(io.BytesIO(body), demand)).rows)


def batches(body):
    source = read(io.BytesIO(body))
    return [len(batch) + len(faults) for batch, faults, _ in importing._batches(
        source.rows, Reader(source, LeadBody(), {}, None), lambda: None)]


@pytest.mark.parametrize("body", [
    b"name" + b"," * 999 + b"\n" + (b"x" + b"," * 999 + b"\n") * 400,
    b"name\n" + (b"x" + b"," * 999 + b"\n") * 400,
    workbook('<row><c r="ALL1"><v>{n}</v></c></row>', 400)], ids=["empty", "too many", "far away"])
def test_cells_without_a_character_fill_a_batch(body):
    found = batches(body)
    assert sum(found) == 400
    assert max(found) <= importing.BATCH_SIZE / 1000 / importing._CELL + 1


@pytest.mark.parametrize("text", [
    f"[{MANY}]", '{"a":"\\"","b":[' + MANY + ']}', '{"a":["' + '",["' * MAX_VALUES + '"]}'])
def test_json_of_too_many_values_is_not_read(text):
    with pytest.raises(Problem) as raised:
        parse_json(text.encode(), MAX_VALUES)
    assert (raised.value.code, str(MAX_VALUES) in raised.value.sentence) == ("bad_json", True)


def test_commas_in_a_text_are_no_values():
    text = '{"a":"\\\\","b":"\\"' + "," * 2 * MAX_VALUES + '"}'
    assert len(parse_json(text.encode(), MAX_VALUES)["b"]) == 2 * MAX_VALUES + 1


@pytest.mark.parametrize("body", [
    f'{{"name":"A"}}\n{{"name":"x","activities":[{MANY}]}}\n{{"name":"B"}}\n',
    '[{"name":"A"},\n{"name":"x","activities":[' + "{}," * 500_000 + '{"a":"]}"}]},\n{"name":"B"},{}]',
    f'name,notes\nA,\nx,"{{""a"":[{MANY}]}}"\nB,\n', f'name,activities\nA,\nx,"[{MANY}]"\nB,\n',
    "name,tags\nA,\nx," + "a;" * 2**18 + "\nB,\n"], ids=["ndjson", "array", "notes", "activities", "tags"])
def test_a_row_of_too_many_values_is_refused_alone(post, body):
    report = post(body).data
    assert report["created"] == 2
    assert report["rejects"][0]["line"] == (3 if body.startswith("name") else 2)
    assert report["rejected"] == 1 + body.endswith("{}]")


def test_a_long_item_is_not_decoded_to_find_its_end(monkeypatch):
    decoded = []
    decode = json_rows.json.JSONDecoder.raw_decode
    monkeypatch.setattr(json_rows.json.JSONDecoder, "raw_decode",
                        lambda decoder, text, idx: decoded.append(len(text) - idx) or decode(decoder, text, idx))
    item = '{"name":"x","activities":[' + '{"a":[[{}]]},' * 100_000 + '"]}"]}'
    found = [(row.line, row.original[0]) for row in read(io.BytesIO(f'[{item},\n1,"a",{{"name":"B"}}]'.encode())).rows]
    assert found == [(1, item), (2, "1"), (2, '"a"'), (2, '{"name":"B"}')]
    assert max(decoded) <= json_rows._LONG


@pytest.mark.parametrize("body", [
    b'[{"name":"x"' + b"," * 2**21, b"[" * 2**21, b'[{"a":' * 2**19, b'[{"a":"' + b"x" * 2**21])
def test_a_long_item_without_an_end_is_the_end(body):
    with pytest.raises(SourceError):
        list(read(io.BytesIO(body)).rows)


def test_lines_behind_an_open_quote_are_not_held_one_by_one():
    text = '"' + "ab\n" * 50_000
    lines = csv_rows.Lines(io.StringIO("name\n" + text + '"x"y\n'))
    next(lines)
    assert lines.begin() == 2
    for _ in range(50_000):
        next(lines)
    assert "".join(lines.kept) == text
    assert len(lines.kept) <= csv_rows._LOOSE + 5
    row, = read(io.BytesIO(f"name,city\n{text}".encode())).rows
    assert (row.line, row.original, row.fault.code) == (2, [text], "bad_row")


def test_a_heading_without_an_end_is_given_up(monkeypatch):
    asked, guess = [], csv_rows.guessed_delimiter
    monkeypatch.setattr(csv_rows, "guessed_delimiter", lambda text: asked.append(len(text)) or guess(text))
    with pytest.raises(SourceError):
        read(io.BytesIO(b'"name' + b"x" * 2**21 + b"\n" * 60))
    assert len(asked) == 1


def test_headings_of_every_row_are_not_all_remembered(monkeypatch):
    monkeypatch.setattr(rows, "_PLANNED", 1000)
    source = read(io.BytesIO("".join(f'{{"name":"x","a{row}":1,"b{row}":2}}\n' for row in range(2000)).encode()))
    reader = Reader(source, LeadBody(), {}, None)
    assert sum(reader.read(row).lead["notes"] == {f"a{number}": 1, f"b{number}": 2}
               for number, row in enumerate(source.rows)) == 2000
    assert sum(map(len, reader._plans)) <= 1000


def test_headings_are_looked_up_once_for_all_rows_however_many_they_are(monkeypatch):
    looked_up, meaning_of = [], columns.meaning_of
    monkeypatch.setattr(rows, "_PLANNED", 10)
    monkeypatch.setattr(columns, "meaning_of", lambda heading: looked_up.append(heading) or meaning_of(heading))
    source = read(io.BytesIO(("name" + "".join(f",c{number}" for number in range(1000)) + "\n"
                              + 5 * ("x" + ",1" * 1000 + "\n")).encode()))
    reader = Reader(source, LeadBody(), {}, None)
    assert [len(reader.read(row).lead["notes"]) for row in source.rows] == 5 * [1000]
    assert len(looked_up) < 2010  # for the delimiter and for the rows
