"""What a salesperson sees and does on the board, by roles and French words, whatever the page is made of."""

import contextlib
import re


def column(page, name):
    """The column of the board that has this heading."""
    return page.get_by_role("region", name=name, exact=True)


def link_of(place, name):
    """The link that opens a lead, on its card or in its row."""
    return place.get_by_role("link", name=f"Ouvrir {name}", exact=True)


def card(place, name):
    """A lead's card, anywhere in `place`."""
    page = getattr(place, "page", place)
    return place.get_by_role("listitem").filter(has=link_of(page, name))


def names_in(place):
    """The names on the cards of `place`, from the top."""
    labels = place.get_by_role("link", name=re.compile("^Ouvrir ")).evaluate_all(
        "links => links.map((link) => link.getAttribute('aria-label') ?? link.textContent)")
    return [label.removeprefix("Ouvrir ") for label in labels]


def panel(page, name):
    """The lead beside the board."""
    return page.get_by_role("complementary", name=name, exact=True)


def choose_column(page, name, to):
    """Move a lead by the menu of its card, as far as the page asks nothing more."""
    page.get_by_role("button", name=f"Déplacer {name} vers…", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name=to, exact=True).click()


@contextlib.contextmanager
def held(page, pattern):
    """The page's requests that match `pattern` wait, as on a line that hangs, until the block ends."""
    waiting = []
    page.route(pattern, lambda route: waiting.append(route))
    try:
        yield waiting
    finally:
        page.unroute(pattern)
        for route in waiting:
            with contextlib.suppress(Exception):  # given up by the page meanwhile
                route.continue_()


FEED = re.compile(r"/leads/changes\?")
