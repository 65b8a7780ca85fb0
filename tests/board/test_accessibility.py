"""No violation of axe's rules on any view, light and dark, wide and narrow."""

import json

import pytest

from real.salesperson import card, link_of, panel

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect


def violations(page, within="html"):
    """What axe finds, light and dark: rules and elements; nothing when all is well."""
    from axe_playwright_python.sync_playwright import Axe
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(Axe().axe_script)
    found = {}
    # The colours are all that differs in the dark.
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        options = {"resultTypes": ["violations"], **rules}
        for each in page.evaluate("(asked) => axe.run(...asked)", [within, options])["violations"]:
            found[f"{each['id']}, {scheme}"] = [node["html"][:200] for node in each["nodes"]][:3]
    return found


@pytest.fixture
def leads(api):
    """Leads to show."""
    api.make(name="Ana Silva", stage="won", source="web")
    api.make(name="BLANC Zoé", company="Acme", stage="lost", phone="06 12 34 56 78")
    api.make(name="Zoé Blanc", company="ACME", owner="Alice Durand", tags=["vip"], phone="06 12 34 56 78",
             email="zoe@example.com",
             notes={"next_step_date": "2020-01-01", "estimated_value": 1200, "Couleur": "bleu"},
             activities=[{"type": "call", "text": "Rappeler", "at": "2026-01-01T10:00:00Z"}])


def test_every_view(board, leads):
    found, page = {}, board
    page.goto("/board")
    expect(card(page, "Zoé Blanc")).to_be_visible()
    page.get_by_role("button", name="Déplier Gagné").click()
    expect(card(page, "Ana Silva")).to_be_visible()
    found["board"] = violations(page)
    page.get_by_text("Filtres", exact=True).click()
    page.get_by_text("Vues", exact=True).click()
    found["filters and views"] = violations(page)
    page.get_by_role("button", name="Nouveau lead").click()
    page.get_by_role("dialog").get_by_role("button", name="Créer").click()
    found["new lead, refused"] = violations(page, "dialog")
    page.keyboard.press("Escape")
    page.get_by_text("Filtres", exact=True).click()
    page.get_by_text("Vues", exact=True).click()
    for to, title in (("Perdu", "Zoé Blanc est perdu ?"), ("Gagné", "Zoé Blanc est gagné !")):
        page.get_by_role("button", name="Déplacer Zoé Blanc vers…").click()
        found[f"menu before {to}"] = violations(page, "dialog")
        page.get_by_role("dialog").get_by_role("button", name=to).click()
        expect(page.get_by_role("dialog", name=title)).to_be_visible()
        found[to] = violations(page, "dialog")
        page.keyboard.press("Escape")
    link_of(page, "Zoé Blanc").click()
    expect(panel(page, "Zoé Blanc").get_by_role("heading", name="Historique")).to_be_visible()
    box = panel(page, "Zoé Blanc").get_by_label("Ville")
    box.fill("Arles")
    box.blur()
    expect(page.get_by_role("button", name="Annuler")).to_be_visible()
    expect(page.get_by_text("1 doublon")).to_be_visible()
    found["lead"] = violations(page)
    for button in ("Fusionner", "Effacer cette personne"):
        panel(page, "Zoé Blanc").get_by_role("button", name=button).click()
        found[button] = violations(page, "dialog")
        page.keyboard.press("Escape")
    page.goto("/board?view=table&tag=vip")
    expect(page.get_by_role("rowheader")).to_have_count(1)
    found["list"] = violations(page)
    page.goto("/board?view=table&tag=aucune")
    expect(page.get_by_text("Aucun lead ne correspond.")).to_be_visible()
    found["nothing found"] = violations(page)
    page.goto("/board?view=figures")
    expect(page.get_by_role("table").first).to_be_visible()
    found["figures"] = violations(page)
    page.goto("/board?view=import")
    page.get_by_label("Déposez un fichier ici").set_input_files(
        {"name": "a.csv", "mimeType": "text/csv", "buffer": b"Nom;Statut;X\nAda;Drole;1\nBob;Perdu;2\n"})
    expect(page.get_by_role("button", name="Importer 1 lead")).to_be_visible()
    found["import"] = violations(page)
    page.goto("/board?created_from=hier")
    expect(page.get_by_role("alert")).to_be_visible()
    found["failure"] = violations(page)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/board")
    expect(card(page, "Zoé Blanc")).to_be_visible()
    found["phone"] = violations(page)
    found = {view: what for view, what in found.items() if what}
    assert not found, json.dumps(found, indent=1)


def test_the_first_visit(board):
    board.goto("/board")
    expect(board.get_by_role("heading", name="Aucun lead pour l'instant")).to_be_visible()
    found = violations(board)
    assert not found, json.dumps(found, indent=1)
