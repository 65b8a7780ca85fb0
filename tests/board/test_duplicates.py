"""Two leads of one person beside each other, made one and two again; what is known of a person, and forgotten."""

import re
from pathlib import Path

import pytest

from real.salesperson import panel
from real.service import until

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect


@pytest.fixture
def beside(board, api):
    """The panel of a lead that another one is a duplicate of."""
    lead = api.make(name="Lou Blanc", company="Garage du Port", phone="06 12 34 56 78", email="lou@example.com")
    api.make(name="BLANC Lou", company="garage du port", phone="0033 612345678", city="Aix")
    board.goto(f"/board?lead={lead['id']}")
    expect(board.get_by_text("1 doublon")).to_be_visible()
    return panel(board, "Lou Blanc")


def test_two_are_made_one_with_a_choice_per_field_and_two_again(board, beside, api):
    beside.get_by_role("button", name="Fusionner").click()
    asked = board.get_by_role("dialog")
    asked.get_by_role("radio", name="BLANC Lou").check()
    asked.get_by_role("button", name="Fusionner").click()
    expect(board.get_by_text("un seul lead maintenant")).to_be_visible()
    [lead] = api.get("/leads/").data
    assert (lead["name"], lead["city"], lead["email"]) == ("BLANC Lou", "Aix", "lou@example.com")
    expect(board.get_by_text("1 doublon")).to_have_count(0)
    board.get_by_role("button", name="Annuler").click()
    expect(board.get_by_text("C'est annulé.")).to_be_visible()
    assert sorted(lead["name"] for lead in api.get("/leads/").data) == ["BLANC Lou", "Lou Blanc"]


def test_they_are_told_apart(board, beside, api):
    beside.get_by_role("button", name="Ce n'est pas la même personne").click()
    expect(board.get_by_text("1 doublon")).to_have_count(0)
    assert api.get("/leads/duplicates").data == []


def test_a_large_dossier_is_as_many_files_as_it_has_parts(board, beside, api):
    lead, = (lead["id"] for lead in api.get("/leads/").data if lead["email"])
    for letter in "abcdefgh":
        api.call("PATCH", f"/leads/{lead}", {"notes": {"text": letter * 100_000}})
    files = []
    board.on("download", lambda file: files.append(file))
    beside.get_by_role("button", name="Télécharger le dossier").click()
    until(lambda: len(files) == 2 or board.wait_for_timeout(50))
    assert [re.sub(r"^dossier-.*?( \(2\))?\.html$", r"\1", file.suggested_filename) for file in files] == ["", " (2)"]
    pages = [Path(file.path()).read_text() for file in files]
    assert ["La suite de ce dossier" in page for page in pages] == [True, False]
    assert all(any(letter * 100_000 in page for page in pages) for letter in "abcdefgh")


def test_a_person_is_told_what_is_known_and_erased(board, beside, api):
    with board.expect_download() as coming:
        beside.get_by_role("button", name="Télécharger le dossier").click()
    assert "lou@example.com" in Path(coming.value.path()).read_text()
    beside.get_by_role("button", name="Effacer cette personne").click()
    asked = board.get_by_role("dialog")
    asked.get_by_label("Raison").fill("demande")
    asked.get_by_label("Pour confirmer").fill("quelqu'un d'autre")
    asked.get_by_role("button", name="Voir ce qui sera effacé").click()
    expect(asked.get_by_role("alert")).to_be_visible()
    asked.get_by_label("Pour confirmer").fill("lou@example.com")
    asked.get_by_role("button", name="Voir ce qui sera effacé").click()
    expect(asked.get_by_text(re.compile("^leads : 1"))).to_be_visible()
    assert len(api.get("/leads/").data) == 2
    asked.get_by_role("button", name="Effacer définitivement").click()
    expect(board.get_by_text("La personne est effacée.")).to_be_visible()
    assert [lead["name"] for lead in api.get("/leads/").data] == ["BLANC Lou"]
