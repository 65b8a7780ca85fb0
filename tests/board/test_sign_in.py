"""Where the service asks who is there."""

import pytest

from leads_service.access import keys
from real.postgres import connected, empty
from real.salesperson import FEED, card, panel
from real.service import service

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect


@pytest.fixture(scope="module")
def guarded(migrated_url, tmp_path_factory):
    """The address of a service that asks for keys, and the secret of each role."""
    empty(migrated_url)
    with connected(migrated_url) as own:
        secrets = {role: keys.create(own, role, role, None) for role in ("reader", "editor", "admin")}
    with service(tmp_path_factory.mktemp("guarded") / "log", DATABASE_URL=migrated_url, WEB_CONCURRENCY=1,
                 LEADS_AUTH="keys") as (_, caller):
        admin = {"X-API-Key": secrets["admin"]}
        assert caller.call("POST", "/leads/", {"name": "Zoé Blanc"}, headers=admin).status == 201
        yield f"http://{caller.address}/board", secrets
    empty(migrated_url)


def sign_in(page, secret):
    page.get_by_label("Clé ou jeton").fill(secret)
    page.get_by_role("button", name="Entrer").click()


def test_a_key_opens_the_board_and_stays_in_the_tab(tab, guarded):
    (address, secrets), page = guarded, tab
    page.goto(address)
    expect(page.get_by_role("heading", name="Qui est là ?")).to_be_visible()
    sign_in(page, "leads_" + "x" * 43)
    expect(page.get_by_text("Cette clé n'est pas acceptée.")).to_be_visible()
    sign_in(page, secrets["admin"])
    expect(card(page, "Zoé Blanc")).to_be_visible()
    page.reload()
    expect(card(page, "Zoé Blanc")).to_be_visible()
    assert secrets["admin"] not in page.url
    assert secrets["admin"] not in page.evaluate("JSON.stringify(localStorage) + document.cookie")
    page.get_by_role("button", name="Se déconnecter").click()
    expect(page.get_by_label("Clé ou jeton")).to_be_visible()
    expect(card(page, "Zoé Blanc")).to_have_count(0)
    page.reload()
    expect(page.get_by_label("Clé ou jeton")).to_be_visible()


def test_a_refusal_that_comes_late_leaves_the_key_that_was_entered_meanwhile(tab, guarded):
    (address, secrets), page, late = guarded, tab, []
    page.route(FEED, lambda route: late.append(route), times=1)
    page.goto(address)
    sign_in(page, secrets["admin"])
    expect(card(page, "Zoé Blanc")).to_be_visible()
    with page.expect_response(lambda answer: answer.status == 401):
        late[0].continue_()
    page.reload()
    expect(card(page, "Zoé Blanc")).to_be_visible()


def test_a_reader_is_not_shown_what_a_reader_may_not(tab, guarded):
    (address, secrets), page = guarded, tab
    page.goto(address)
    sign_in(page, secrets["reader"])
    page.get_by_role("link", name="Ouvrir Zoé Blanc").click()
    beside = panel(page, "Zoé Blanc")
    expect(beside.get_by_label("Ville")).to_be_disabled()
    for name in ("Nouveau lead", "Déplacer Zoé Blanc vers…", "Convertir en client", "Supprimer", "Noter une activité"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.get_by_role("link", name="Importer")).to_have_count(0)
    assert card(page, "Zoé Blanc").get_attribute("draggable") == "false"


def test_an_editor_changes_leads_and_neither_deletes_nor_imports(tab, guarded):
    (address, secrets), page = guarded, tab
    page.goto(address)
    sign_in(page, secrets["editor"])
    page.get_by_role("link", name="Ouvrir Zoé Blanc").click()
    expect(panel(page, "Zoé Blanc").get_by_label("Ville")).to_be_enabled()
    expect(page.get_by_role("button", name="Nouveau lead")).to_be_visible()
    expect(page.get_by_role("button", name="Supprimer")).to_have_count(0)
    expect(page.get_by_role("link", name="Importer")).to_have_count(0)


def test_an_import_that_only_an_admin_may_do_is_refused_by_its_address_too(tab, guarded):
    (address, secrets), page = guarded, tab
    page.goto(f"{address}?view=import")
    sign_in(page, secrets["editor"])
    expect(page.get_by_text("Votre clé ne permet pas d'importer.")).to_be_visible()
    expect(page.get_by_label("Déposez un fichier ici")).to_have_count(0)
