"""A new lead, with as little as a name."""

import pytest

from real.salesperson import card, column, panel

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect


@pytest.fixture
def form(board, api):
    """The form of a new lead, on a board that has one."""
    api.make(name="Zoé Blanc", email="zoe@example.com")
    board.goto("/board")
    board.get_by_role("button", name="Nouveau lead").click()
    return board.get_by_role("dialog", name="Nouveau lead")


def test_a_name_is_enough(board, api, form):
    form.get_by_label("Nom").fill("Ana Silva")
    form.get_by_role("button", name="Créer").click()
    expect(board.get_by_text("Ana Silva est créé.")).to_be_visible()
    expect(card(column(board, "Nouveau"), "Ana Silva")).to_be_visible()
    expect(panel(board, "Ana Silva")).to_be_visible()
    assert api.get("/leads/search/ana").data[0]["stage"] == "new"


def test_a_name_there_must_be(board, api, form):
    form.get_by_role("button", name="Créer").click()
    expect(form.get_by_label("Nom")).to_be_focused()
    expect(form.get_by_label("Nom")).to_have_accessible_description("Le nom est obligatoire.")
    assert api.get("/leads/").json["count"] == 1


def test_what_the_service_refuses_is_said_at_its_field(board, form):
    form.get_by_label("Nom").fill("Ana Silva")
    form.get_by_label("E-mail").fill("pas une adresse")
    form.get_by_role("button", name="Créer").click()
    expect(form.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("E-mail")).to_be_focused()
    form.get_by_label("E-mail").fill("ZOE@example.com")
    form.get_by_role("button", name="Créer").click()
    form.get_by_role("link", name="Voir le lead qui a cette adresse").click()
    expect(panel(board, "Zoé Blanc")).to_be_visible()


def test_what_was_typed_outlives_a_touch_outside_and_the_form(board, form):
    form.get_by_label("Nom").fill("Ana Silva")
    board.mouse.click(5, 5)
    expect(form.get_by_label("Nom")).to_have_value("Ana Silva")
    board.keyboard.press("Escape")
    expect(form).to_have_count(0)
    board.get_by_role("button", name="Nouveau lead").click()
    expect(form.get_by_label("Nom")).to_have_value("Ana Silva")
