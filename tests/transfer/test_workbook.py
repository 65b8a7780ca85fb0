"""Workbooks as Excel and others save them, read without a database."""

import datetime as dt
import io
import subprocess
import sys
import zipfile

import pytest
import xlsxwriter

from leads_service.contract.lead import LeadBody
from leads_service.contract.problems import Problem
from leads_service.transfer.files import workbook
from leads_service.transfer.files.reading import read
from leads_service.transfer.rows import Reader
from leads_service.transfer.sources import SourceError
from real.workbooks import workbook as workbook_of


def made(*rows, formats=None, sheets=(), **options):
    """A workbook of these rows; `formats` gives the number format of (row, column)."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, options) as book:
        sheet = book.add_worksheet("Prospects")
        for name in sheets:
            book.add_worksheet(name)
        for number, row in enumerate(rows):
            for column, value in enumerate(row):
                code = (formats or {}).get((number, column))
                shown = code and book.add_format({"num_format": code})
                if isinstance(value, str):
                    sheet.write_string(number, column, value, shown)
                elif isinstance(value, dt.date | dt.time):
                    sheet.write_datetime(number, column, value, shown)
                elif value is not None:
                    sheet.write(number, column, value, shown)
    return file.getvalue()


def values_of(raw):
    return [row.values for row in read(io.BytesIO(raw)).rows]


def leads_of(raw):
    source = read(io.BytesIO(raw))
    reader = Reader(source, LeadBody(), {}, None)
    return {incoming.lead["name"]: incoming.lead for incoming in map(reader.read, source.rows)}, reader.described("en")


def altered(raw, part, change):
    """The workbook with `change` done to the bytes of one part; None leaves the part out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = old.read(name) if name != part else change(old.read(name))
            if data is not None:
                new.writestr(name, data)
    return out.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


@pytest.mark.parametrize("constant_memory", [False, True])
def test_every_kind_of_cell_keeps_its_meaning(constant_memory):
    day, time = dt.date(2025, 10, 31), dt.datetime(2025, 10, 31, 14, 30)
    formats = {(1, 2): "dd/mm/yyyy", (1, 4): "0%", (1, 6): "dd/mm/yyyy hh:mm", (1, 7): "hh:mm", (1, 8): "0.0%",
               (2, 2): "dd/mm/yyyy hh:mm"}
    leads, understood = leads_of(made(
        ["Nom", "Portable", "Créé le", "Ville", "Intérêt", "Montant", "Relance", "Heure", "Remise", "Actif ?", "SIRET"],
        ["Zoé  <&> \U0001f600", 612345678, day, "Aix\nCentre", 0.8, 1234.5, time, dt.time(9, 5), 0.125, True,
         12345678901234],
        ["Bob", "06 12 34 56 79", time, 13100, 80, 0.1, None, None, None, False, None],
        ["Ida", None, 45961.5, "=1+1"], formats=formats, constant_memory=constant_memory))
    zoe, bob, ida = leads.values()
    assert (zoe["name"], zoe["phone"][-9:], zoe["city"], zoe["interest_level"]) == (
        "Zoé  <&> \U0001f600", "612345678", "Aix\nCentre", 80)
    assert [lead["created_at"].isoformat()[:16] for lead in (zoe, bob, ida)] == [
        "2025-10-31T00:00", "2025-10-31T14:30", "2025-10-31T12:00"]
    assert zoe["notes"] == {"estimated_value": 1234.5, "next_step_date": "2025-10-31T14:30:00",
                            "Heure": "09:05:00", "Remise": 0.125, "Actif ?": True, "SIRET": 12345678901234}
    assert (bob["city"], bob["interest_level"]) == ("13100", 80)
    assert bob["notes"] == {"estimated_value": 0.1, "Actif ?": False}
    assert (ida["city"], ida["notes"]) == ("=1+1", {})
    assert (understood["format"], understood["columns"]["Portable"]) == ("xlsx", "phone")
    assert any("spreadsheet" in sentence for sentence in understood["assumptions"])


def test_texts_that_xml_cannot_hold():
    texts = ["a\r\nb", "tab\tx", "_x0041_", "\x07bell", " blanks ", "<>&\"'"]
    for constant_memory in (False, True):
        assert [row["Ville"] for row in values_of(made(["Nom", "Ville"], *(["A", text] for text in texts),
                                                       constant_memory=constant_memory))] == texts


def test_rows_and_cells_that_are_not_there():
    source = read(io.BytesIO(made([], [None, None], [None, "Nom", "", "Ville"], [],
                                  [None, "Zoé", "x", "Aix", "y", None, 5], ["  ", " "], [None, "Bob"])))
    rows = list(source.rows)
    assert source.headings == ["column 1", "Nom", "column 3", "Ville"]
    assert [row.line for row in rows] == [5, 7]
    assert rows[0].values == {"column 1": None, "Nom": "Zoé", "column 3": "x", "Ville": "Aix", "column 5": "y",
                              "column 7": 5}
    assert rows[0].original == ["", "Zoé", "x", "Aix", "y", "", "5"]
    assert rows[1].original == ["", "Bob", "", ""]


def test_titles_above_the_headings_are_passed_over_and_named():
    raw = made(["Salon de Lyon"], [None, "Édité le", dt.date(2026, 11, 12)], [], ["Nom", "Ville", "E-mail"],
               ["Zoé", "Aix"], formats={(1, 2): "dd/mm/yyyy"})
    leads, described = leads_of(raw)
    assert (leads["Zoé"]["city"], described["heading_line"]) == ("Aix", 4)
    assert [each for each in described["assumptions"] if "Above" in each] == [
        "Above the headings, Salon de Lyon is passed over.", "Above the headings, Édité le 2026-11-12 is passed over."]


def test_null_words():
    assert [row["Ville"] for row in values_of(made(["Nom", "Ville"], ["A", "NULL"], ["B", "\\N"], ["C", "'NULL"]))] == [
        None, None, "NULL"]


def test_dates_counted_from_1904():
    raw = made(["Nom", "Créé le"], ["A", dt.datetime(2025, 10, 31, 14, 30)], formats={(1, 1): "d mmm yyyy"},
               date_1904=True)
    assert values_of(raw)[0]["Créé le"] == "2025-10-31T14:30:00"


@pytest.mark.parametrize(("code", "date"), [
    ("General", False), ("0.00", False), ('0 "jours"', False), ("# ##0 [$€-40C]", False), ("[Red]0", False),
    ("0\\h", False), ("yyyy-mm-dd", True), ("[$-40C]d mmmm yyyy;@", True), ("hh:mm:ss", True), ("D/M/YY", True)])
def test_which_number_is_a_date(code, date):
    value = values_of(made(["Nom", "x"], ["A", 45961], formats={(1, 1): code}))[0]["x"]
    assert value == ("2025-10-31" if date else 45961)


def test_the_first_sheet_is_read_and_the_others_named():
    source = read(io.BytesIO(made(["Nom"], ["A"], sheets=("Autres", "Encore"))))
    assert len(list(source.rows)) == 1
    assert source.understood.described("en")["assumptions"] == [
        "The first sheet only, Prospects, is read; the workbook has 3."]


def test_other_makers_write_other_xml():
    raw = made(["Nom", "Ville"], ["A", "Aix"])
    plain = values_of(raw)
    prefixed = altered(raw, SHEET, lambda xml: xml.replace(b"<", b"<x:").replace(b"<x:/", b"</x:").replace(
        b"<x:?", b"<?").replace(b"xmlns=", b"xmlns:x="))
    assert values_of(prefixed) == plain
    bare = altered(raw, SHEET, lambda xml: xml.replace(b' r="1"', b"").replace(b' r="2"', b"").replace(b' r="A1"', b"")
                   .replace(b' r="B1"', b"").replace(b' r="A2"', b"").replace(b' r="B2"', b""))
    assert values_of(bare) == plain
    rich = altered(raw, "xl/sharedStrings.xml", lambda xml: xml.replace(
        b"<t>Aix</t>", b"<r><t>A</t></r><r><t>ix</t></r><rPh><t>no</t></rPh>"))
    assert values_of(rich) == plain


@pytest.mark.parametrize("damage", [
    lambda raw: raw[:len(raw) // 2], lambda raw: raw[:200], lambda raw: raw[:4],
    lambda raw: b"PK\x03\x04" + b"\0" * 1000,
    lambda raw: altered(raw, SHEET, lambda xml: xml[:-20]), lambda raw: altered(raw, SHEET, lambda xml: None),
    lambda raw: altered(raw, "xl/sharedStrings.xml", lambda xml: b"<sst/>"),
    lambda raw: altered(raw, "xl/workbook.xml", lambda xml: b"not xml"),
    lambda raw: altered(raw, "xl/styles.xml", lambda xml: b""),
    lambda raw: altered(raw, "_rels/.rels", lambda xml: None),
    lambda raw: altered(raw, SHEET, lambda xml: xml.replace(b' r="A2"', b' r="ZZZZ2"')),
    lambda raw: altered(raw, SHEET, lambda xml: xml.replace(b' r="A2"', b' r="2"')),
    lambda raw: altered(raw, SHEET, lambda xml: xml.replace(b"<v>0</v>", b"<v>-1</v>")),
    lambda raw: altered(raw, SHEET, lambda xml: b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + xml.partition(b"?>")[2]),
    lambda raw: raw.replace(raw[raw.index(b"sheet1.xml") + 20:][:12], b"\xff" * 12, 1)], ids=range(15))
def test_a_damaged_workbook_is_one_sentence(damage):
    raw = damage(made(["Nom", "Ville"], ["A", "Aix"]))
    with pytest.raises(SourceError, match="endommagé"):
        list(read(io.BytesIO(raw)).rows)


def test_nothing_is_taken_of_a_workbook_that_is_damaged_far_behind():
    raw = made(["Nom"], *([f"Lead {number}"] for number in range(20_000)), constant_memory=True)
    with zipfile.ZipFile(io.BytesIO(raw)) as book:
        part = book.getinfo(SHEET)
    end = part.header_offset + part.compress_size - 100
    with pytest.raises(SourceError, match="endommagé"):
        read(io.BytesIO(raw[:end] + bytes(byte ^ 0x55 for byte in raw[end:end + 8]) + raw[end + 8:]))


def test_what_else_is_one_sentence():
    for raw, words in ((b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "ancien classeur"), (made(), "est vide"),
                       (made([None, " "]), "est vide"), (made(["Prix", "Stock"], [1, 2]), "première ligne")):
        with pytest.raises(SourceError, match=words):
            read(io.BytesIO(raw))


def test_a_workbook_that_unpacks_beyond_the_bound(monkeypatch):
    raw = altered(made(["Nom"], ["A"]), SHEET,
                  lambda xml: xml.replace(b"</sheetData>", b" " * 90_000 + b"</sheetData>"))
    assert len(raw) < 20_000
    assert len(values_of(raw)) == 1
    monkeypatch.setattr(workbook, "MAX_UNPACKED", 50_000)
    with pytest.raises(SourceError, match="trop grand"):
        read(io.BytesIO(raw))
    # A directory that lies about the size.
    with zipfile.ZipFile(io.BytesIO(raw)) as book:
        size = book.getinfo(SHEET).file_size
    with pytest.raises(SourceError, match="endommagé"):
        list(read(io.BytesIO(raw.replace(size.to_bytes(4, "little"), (5000).to_bytes(4, "little")))).rows)


@pytest.mark.parametrize(("row", "parts"), [
    ("<row/>", {}), ('<row><c t="str"><v>x</v></c></row>', {}),
    ("", {"sharedStrings": "<sst>" + "<si/>" * 50_000 + "</sst>"}),
    ("", {"styles": "<cellXfs>" + "<xf/>" * 50_000 + "</cellXfs>"})])
def test_a_workbook_that_unpacks_to_far_more_than_its_size(row, parts):
    raw = workbook_of(row, 50_000, **parts)
    assert len(raw) < 10_000
    with pytest.raises(SourceError, match="plus de cent fois"):
        read(io.BytesIO(raw))
    # A directory that lies about what it takes.
    with zipfile.ZipFile(io.BytesIO(raw)) as book:
        part = max(book.infolist(), key=lambda each: each.file_size)
    sizes = (part.compress_size.to_bytes(4, "little") + part.file_size.to_bytes(4, "little"))
    lie = (10**8).to_bytes(4, "little") + sizes[4:]
    assert sizes in raw
    with pytest.raises(SourceError, match="plus de cent fois"):
        read(io.BytesIO(raw.replace(sizes, lie)))


@pytest.mark.parametrize(("row", "fit"), [
    ("<row><c><v>1</v></c></row>", range(1000, 2000)), ('<row><c r="XFD1"><v>1</v></c></row>', range(24, 50))])
def test_rows_are_stopped_that_take_far_less_of_the_file_than_those_of_people(row, fit):
    rows, read_before = read(io.BytesIO(workbook_of(row, 2500))).rows, []
    with pytest.raises(Problem, match="timeout"):
        read_before.extend(rows)
    assert len(read_before) in fit


def test_rows_that_are_all_alike_are_not():
    alike = made(["Nom", *map(str, range(100))], *[["Garage"]] * 20_000, constant_memory=True)
    assert len(values_of(alike)) == 20_000


def test_a_cell_in_the_far_corner_costs_nothing():
    raw = altered(made(["Nom"], ["A"]), SHEET, lambda xml: xml.replace(
        b"</sheetData>", b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'))
    rows = list(read(io.BytesIO(raw)).rows)
    assert [(row.line, row.values) for row in rows] == [(2, {"Nom": "A"}), (1048576, {"Nom": None, "column 16384": 1})]


def test_memory_of_a_long_sheet(tmp_path):
    path = tmp_path / "long.xlsx"
    with xlsxwriter.Workbook(path) as book:  # with shared strings, which are what is held
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["Nom", "Ville", "Adresse", "E-mail"])
        for number in range(1, 30_001):
            sheet.write_row(number, 0, [f"Lead {number}", f"Ville {number}", f"{number} rue longue de la République",
                                        f"lead.{number}@example.com"])
    script = ("import resource, sys\nfrom leads_service.transfer.files.reading import read\n"
              "start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
              "with open(sys.argv[1], 'rb') as file:\n    count = sum(1 for _ in read(file).rows)\n"
              "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)")
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    count, kibibytes = map(int, done.stdout.split())
    assert count == 30_000
    assert kibibytes < 25_000
