"""A file is tried first; it is brought in when the person has seen what was understood."""

import pytest

from real.salesperson import card

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect
CSV = ("Salon de Lyon;;;;;\r\n"
       "Entreprise;Contact;Email;Statut;Couleur;Montant\r\n"
       "ACME;Zoé Blanc;zoe@example.com;Contacté;bleu;12,5 k€\r\n"
       "ACME;Bob Roux;;Qualifié;;\r\n"
       "ACME;\"Ana\r\nSilva\";pas une adresse;Nouveau;;\r\n").encode("cp1252")


@pytest.fixture
def tried(board, api):
    """The page on which the file has been tried."""
    board.goto("/board?view=import")
    board.get_by_label("Déposez un fichier ici").set_input_files(
        {"name": "leads.csv", "mimeType": "text/csv", "buffer": CSV})
    expect(board.get_by_text("Essai de leads.csv : rien n'est encore écrit")).to_be_visible()
    return board


def count(page, word):
    """The number that stands with a word of the report."""
    return page.get_by_role("definition").nth(
        page.get_by_role("term").all_text_contents().index(word)).text_content()


def test_the_trial_says_what_was_understood_and_writes_nothing(tried, api):
    assert [count(tried, word) for word in ("à créer", "refusés")] == ["1", "2"]
    understood = tried.get_by_role("region", name="Ce qui a été compris")
    expect(understood.get_by_role("row", name="Entreprise")).to_contain_text("Société")
    expect(understood.get_by_role("row", name="Couleur")).to_contain_text("notes")
    expect(understood.get_by_role("row", name="Montant")).to_contain_text("Valeur estimée (€)")
    expect(tried.get_by_text("Au-dessus des en-têtes, « Salon de Lyon » est passé.")).to_be_visible()
    expect(tried.get_by_text("encodage windows-1252")).to_be_visible()
    rejects = tried.get_by_role("region", name="Lignes refusées")
    expect(rejects.get_by_role("row").filter(has_text="Qualifié")).to_contain_text("4")
    expect(rejects.get_by_role("row").filter(has_text="E-mail")).to_contain_text("5")
    assert api.get("/leads/").json["count"] == 0


def test_a_word_gets_its_meaning_and_the_file_is_brought_in(tried, api):
    tried.get_by_label("« Qualifié » (1)").select_option("Contacté")
    tried.get_by_role("button", name="Importer 2 leads").click()
    expect(tried.get_by_text("leads.csv est importé")).to_be_visible()
    assert [count(tried, word) for word in ("créés", "refusés")] == ["2", "1"]
    assert sorted(row["name"] for row in api.get("/leads/").data) == ["Bob Roux", "Zoé Blanc"]
    tried.get_by_role("link", name="Voir le tableau").click()
    expect(card(tried, "Bob Roux")).to_be_visible()
    expect(card(tried, "Zoé Blanc")).to_contain_text("12 500 €")


def test_the_rejected_rows_are_downloaded_as_they_were_with_their_reasons(tried, tmp_path):
    with tried.expect_download() as coming:
        tried.get_by_role("button", name="Télécharger les lignes refusées").click()
    coming.value.save_as(tmp_path / "rejects.csv")
    text = (tmp_path / "rejects.csv").read_bytes().decode("utf-8-sig")
    assert text.startswith("line;column;code;message;Entreprise;Contact;Email;Statut;Couleur;Montant\r\n4;")
    assert ";ACME;Bob Roux;;Qualifié;;\r\n5;" in text
    assert text.count("Ana") == 1
    assert text.endswith('Silva";pas une adresse;Nouveau;;\r\n')


def test_a_file_that_is_none_is_refused_with_a_sentence(board, api):
    board.goto("/board?view=import")
    board.get_by_label("Déposez un fichier ici").set_input_files(
        {"name": "photo.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n" + bytes(500)})
    expect(board.get_by_role("alert")).to_be_visible()
    expect(board.get_by_role("button", name="Importer")).to_have_count(0)


def test_a_file_is_dropped(board, api):
    board.goto("/board?view=import")
    # A drag from the desktop cannot be made by a browser's driver: its last event is.
    board.get_by_text("Déposez un fichier ici").evaluate("""(place) => {
        const data = new DataTransfer();
        data.items.add(new File(["Nom\\nZoé Blanc\\n"], "leads.csv"));
        place.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
    }""")
    expect(board.get_by_role("button", name="Importer 1 lead")).to_be_enabled()
