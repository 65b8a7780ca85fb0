"""CSV as people have it, read without a database."""

import io
import time

import pytest

from leads_service.transfer.files.csv_rows import BAD_QUOTES
from leads_service.transfer.files.reading import read
from leads_service.transfer.sources import SourceError


def read_all(text):
    """(delimiter, [values], [(line, code, the cells as they were)])."""
    source = read(io.BytesIO(text.encode() if isinstance(text, str) else text))
    rows = list(source.rows)
    return (source.understood.delimiter, [list(row.values.values()) for row in rows if not row.fault],
            [(row.line, row.fault.code, row.original) for row in rows if row.fault])


@pytest.mark.parametrize(("text", "delimiter"), [
    ("Nom,Ville\nZoé,Aix\n", ","), ("Nom;Ville\nZoé;Aix\n", ";"), ("Nom\tVille\nZoé\tAix\n", "\t"),
    ("Nom|Ville\nZoé|Aix\n", "|"), ("sep=;\nNom;Ville\nZoé;Aix\n", ";"), ("SEP=,\r\nNom,Ville\r\nZoé,Aix\r\n", ","),
    ("\ufeffsep=\t\rNom\tVille\rZoé\tAix\r", "\t"), ('"sep=;"\nNom;Ville\nZoé;Aix\n', ";"),
    ('"Nom";"Ville (une, deux, trois)"\nZoé;Aix\n', ";"), ("Nom;Ville (une, deux, trois)\nZoé;Aix\n", ";"),
    ("Nom,Ville | Commune\nZoé,Aix\n", ","), ("\n;;\n  ;\nNom;Ville\nZoé;Aix\n", ";"),
    ('"Nom\ncomplet";Ville\nZoé;Aix\n', ";"), ("Nom,24\",Ville\nZoé,1,Aix\n", ","),
    ("sep=^\nNom^Ville\nZoé^Aix\n", "^")])
def test_the_delimiter_is_found(text, delimiter):
    found, rows, faults = read_all(text)
    assert (found, [row[::len(row) - 1] for row in rows], faults) == (delimiter, [["Zoé", "Aix"]], [])


@pytest.mark.parametrize(("above", "titles"), [
    ("Salon de Lyon 2026\n", ["Salon de Lyon 2026"]),
    ("Salon de Lyon 2026;;\n;;\nÉdité le;12/11/2026;\n", ["Salon de Lyon 2026", "Édité le 12/11/2026"]),
    ('sep=;\n"Salon\nde Lyon";;\n', ["Salon de Lyon"]),
    ("Salon de Lyon, stand B\nVille : Lyon\n", ["Salon de Lyon, stand B", "Ville : Lyon"]),
    ("Liste\n" * 9 + "Client;Lyon;\n", ["Liste", "Client Lyon"])])
def test_titles_above_the_headings_are_passed_over_and_named(above, titles):
    source = read(io.BytesIO(f"{above}Nom;Ville;Email\nZoé;Aix;z@example.com\n".encode()))
    described = source.understood.described("en")
    assert described["assumptions"] == [f"Above the headings, {title} is passed over." for title in titles]
    assert described["heading_line"] == above.count("\n") + 1
    assert [(row.line, row.values) for row in source.rows] == [
        (above.count("\n") + 2, {"Nom": "Zoé", "Ville": "Aix", "Email": "z@example.com"})]


@pytest.mark.parametrize("text", [
    "Couleur;Taille\nrouge;Nom\nbleu;2\n",  # a heading of no names, as wide as its rows
    "Couleur;Taille\nrouge;2\nNom;Ville\nZoé;Aix\n", "Couleur\nNom\nZoé\n", "Liste\n" * 11 + "Nom;Ville\nZoé;Aix\n",
    "Liste," * 1001 + "\nNom,Ville," + "x," * 2000 + "\n",
    "Liste\n\"Nom;Ville\nZoé;Aix\n", b"Liste\n\x00Nom;Ville\nZo\xe9;Aix\n"])
def test_rows_of_data_are_no_titles(text):
    with pytest.raises(SourceError, match=r"Couleur|Liste"):
        read_all(text)


def test_line_breaks_of_three_kinds_in_one_file():
    assert read_all("name,city\rA,Aix\r\nB,\"x\r\ny\"\nC,\"x\ry\"")[1:] == (
        [["A", "Aix"], ["B", "x\r\ny"], ["C", "x\ry"]], [])


def test_blanks_in_front_of_a_quote():
    assert read_all('name, city, tags\n "Zoe",  "Aix, ""centre""", vip\n"Bob", Nice, "a\nb"\n')[1:] == (
        [["Zoe", 'Aix, "centre"', "vip"], ["Bob", "Nice", "a\nb"]], [])


def test_quotes_within_a_bare_cell_are_text():
    assert read_all('name,city\nÉcran 24" Dell,Aix\nBar "Le Phare",Nice\n')[1:] == (
        [['Écran 24" Dell', "Aix"], ['Bar "Le Phare"', "Nice"]], [])


def test_joined_files():
    text = ("\ufeffname,city\nZoe,Aix\n\ufeffname,city\nBob,Nice\nname,city\n\ufeffIda,Lyon\nEva,Caen\ufeffname,city\n"
            "Lea,Pau")
    assert read_all(text)[1:] == (
        [["Zoe", "Aix"], ["Bob", "Nice"], ["Ida", "Lyon"], ["Eva", "Caen"], ["Lea", "Pau"]], [])
    assert read_all("\ufeffname\nZoe\ufeffname\nBob\ufeffIda\n")[1][:2] == [["Zoe"], ["Bob\ufeffIda"]]
    assert read_all("name,city\nZoe,Aix\ufeffIda,Lyon\n")[1:] == ([["Zoe", "Aix"], ["Ida", "Lyon"]], [])
    source = read(io.BytesIO(text.encode()))
    assert [row.line for row in source.rows] == [2, 4, 6, 7, 9]
    assert ["en-tête" in sentence for sentence in source.understood.described()["assumptions"]] == [True]


def test_blank_rows_are_nothing_and_lines_are_still_counted():
    source = read(io.BytesIO("Nom;Ville\n\n;\n; ; ;;\n \nZoé;Aix\n\xa0;\nBob\n".encode()))
    assert [(row.line, bool(row.fault)) for row in source.rows] == [(6, False), (8, True)]


def test_headings_that_are_blank_or_repeated():
    source = read(io.BytesIO(b"Nom;;E-mail;E-mail;;\nZoe;a;b;c;d;\n"))
    assert source.headings == ["Nom", "column 2", "E-mail", "E-mail (2)", "column 5", "column 6"]
    started = time.monotonic()
    read(io.BytesIO(b"name" + b",x" * 100_000 + b"\n"))
    assert time.monotonic() - started < 20  # quadratic, it takes minutes


def test_null_words_are_null_only_as_whole_cells():
    assert read_all("name,city,owner,notes\nA,NULL,\\N,\"NULL\"\nB,NULLE, NULL ,a \\N\nC,'NULL,''NULL,null\n"
                    .replace("null", "null,")[:-2] + "\n")[1] == [
        ["A", None, None, None], ["B", "NULLE", None, "a \\N"], ["C", "NULL", "'NULL", "null"]]


def test_rows_of_another_width_are_rejects():
    assert read_all("name,city\nA\nB,Aix,Paris\nC,Aix\n\"D\"\nE,Pau\n")[1:] == (
        [["C", "Aix"], ["E", "Pau"]],
        [(2, "bad_row", ["A"]), (3, "bad_row", ["B", "Aix", "Paris"]), (5, "bad_row", ["D"])])


@pytest.mark.parametrize(("broken", "parts"), [
    ('"Bar \\"Le Phare\\"\nSalle du bas",Aix\n', 1),
    ('"Bar "Le Phare"\nSalle du bas",Aix\n', 1),
    ('"Bar "Le Phare", bas\nSalle, du bas",Aix\n', 1),
    ('"Bar "Le\nPhare" bas\nau fond, à gauche",Aix\n', 1),
    ('"Bar "Le Phare"\nSalle, bas\nà gauche, fond\n\nSalle",Aix\n', 1),
    ('"Bar Le Phare"\nSalle du bas",Aix\n', 1),
    ('"Bar "Le Phare"\nSalle du bas\n",Aix\n', 1),
    ('"Bar "Le Phare"\nSalle du bas,Aix\n', 1),
    ('"A"b,Aix\n', 1), ('"5" screen",Aix\n', 1), ('"A"b,Aix\n"5" screen",Aix\n"C"d,Aix\n', 3),
], ids=range(11))
@pytest.mark.parametrize("behind", ['"Zoe",Nice\n"Bob",Lyon\n', "Zoe,Nice\nBob,Lyon\n", 'Zoe,"Nice"\n"Bob","Lyon"\n'])
def test_nothing_behind_broken_quotes_is_taken_that_could_be_the_remainder(broken, parts, behind):
    _, values, faults = read_all("name,city\nAda,Pau\n" + broken + behind)
    assert values == [["Ada", "Pau"], ["Zoe", "Nice"], ["Bob", "Lyon"]]
    assert [code for _, code, _ in faults] == ["bad_row"] * parts
    assert "".join(cells[0] for _, _, cells in faults) == broken
    assert faults[0][0] == 3


def test_behind_what_ends_it_a_broken_record_takes_neighbours_only():
    _, values, faults = read_all('name,city\n"Bar "Le Phare"\nSalle du bas",Aix\nZoe,Nice\nÉcran 24",Lyon\n')
    assert (values, len(faults)) == ([["Zoe", "Nice"], ['Écran 24"', "Lyon"]], 1)


def test_a_quote_that_stays_open_takes_what_it_holds_and_no_more():
    _, values, faults = read_all('name,city\nA,Aix\nB,"Aix\nC,Aix\n"Zoe",Nice\nBob,Lyon\n')
    assert (values, faults) == ([["A", "Aix"], ["Bob", "Lyon"]], [(3, "bad_row", ['B,"Aix\nC,Aix\n"Zoe",Nice\n'])])


def test_many_broken_records_take_time_in_proportion():
    def seconds(rows):
        text = ("name,city\n" + ('"A"b,Aix\n' + "C,Aix\n" * 60) * rows).encode()
        started = time.process_time()
        assert sum(not row.fault for row in read(io.BytesIO(text)).rows) == 60 * rows
        return time.process_time() - started

    assert seconds(2000) < 12 * max(seconds(400), 0.02)  # 5 in theory, 25 when it is quadratic


def test_the_quotes_of_the_heading():
    for text in ('"name\nA\n', '"name"x,city\nA,Aix\n'):
        with pytest.raises(SourceError, match="guillemets"):
            read_all(text)
    assert "quotes" in BAD_QUOTES.english


def test_a_heading_of_more_columns_than_any_table_has():
    with pytest.raises(SourceError, match="300001 colonnes"):
        read(io.BytesIO(b"name" + b",x" * 300_000 + b"\n"))
