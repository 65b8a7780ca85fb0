"""The board in Debian's Chromium, on the running service; without Chromium and its binding the tests skip."""

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """pytest-playwright's, for the Chromium of this machine."""
    if not CHROMIUM:
        pytest.skip("Chromium is not installed (Debian's package chromium)")
    # Its sandbox refuses to work for root, who has to be trusted with the pages of these tests.
    return browser_type_launch_args | {"executable_path": CHROMIUM, "chromium_sandbox": os.getuid() != 0}


@pytest.fixture(scope="session")
def base_url(running):
    """What the addresses in these tests begin with."""
    return f"http://{running.address}"


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    """A French salesperson at a desk."""
    return browser_context_args | {"locale": "fr-FR", "timezone_id": "Europe/Paris",
                                   "viewport": {"width": 1280, "height": 800}}


@pytest.fixture
def visit(browser, browser_context_args):
    """A function that gives a page of a new browser, which may differ in anything from a salesperson's at a desk.

    An error of a page, or something that its policy keeps from it, fails the test.
    """
    contexts, errors = [], []

    def come(**different):
        contexts.append(browser.new_context(**browser_context_args | different))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)
        return page

    yield come
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def board(api, visit):
    """A page of the running service on empty tables; go to /board with it."""
    return visit()
