"""The page at /docs, in a real browser that may talk to nobody but the service."""

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, sync_playwright

from tests.service.running import RunningService

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture
def page_and_strangers() -> Iterator[tuple[Page, list[str]]]:
    """A page, and the addresses elsewhere that it asked for; none of them is reached."""
    chromium = shutil.which("chromium")
    assert chromium, "Expected Chromium on the PATH for the browser tests. Install it: apt-get install chromium"
    strangers: list[str] = []

    def let_only_the_service_answer(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1" or route.request.url.startswith("data:"):
            route.continue_()
        else:
            strangers.append(route.request.url)
            route.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1200, "height": 1400})
        page.route("**/*", let_only_the_service_answer)
        yield page, strangers
        browser.close()


def test_the_page_works_without_the_internet(
    service: RunningService, page_and_strangers: tuple[Page, list[str]]
) -> None:
    page, strangers = page_and_strangers
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(f"{service.url}/docs")
    operation = page.locator("#operations-predictions-predict_predict_post")
    operation.wait_for(timeout=30_000)
    operation.locator(".opblock-summary-control").click()
    assert "I did not like it." in operation.locator("textarea").input_value()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response")
    answer.wait_for(timeout=30_000)
    assert answer.locator(".response-col_status").inner_text().startswith("200")
    assert '"predictions"' in answer.inner_text()
    assert faults == []
    assert strangers == []
