"""The page at /, in a real browser that may talk to nobody but the service."""

import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, Route, expect, sync_playwright

from service.settings import Settings
from tests.service.running import AppClient, RunningService, ready_client_of, running_service
from tests.tiny_bundle import build_tiny_bundle

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
REVIEW = "I did not like it. A wonderful, moving film 🎬! The plot was dull."
LIMIT = 100_000
"""Bytes of everything that the first paint needs."""

HOSTILE = {
    "markup": "</script><img src=x onerror=alert(1)><b>did</b> &amp; {{like}} it",
    "turned round": "I did \u202enot like\u202c it. \u2066\u202ethe plot\u2069",
    "a long word": "like " + "x" * 19_000 + " it",
    "emoji": "I 👩‍👩‍👧 like 🎬🎬 it 👎🏽 🇪🇺",
    "control characters": "I did\x00 not\x1b[31m like\x07 it",
    "Arabic": "فيلم جميل I like it جدا",
    "lines": "I did\n\n  not\tlike\nit",
}


@pytest.fixture(scope="module")
def service(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """`default`, and `opaque`, which has three labels and no contributions."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "default").symlink_to(models_dir / "default")
    build_tiny_bundle(folder, name="opaque", mechanism="transformer", labels=("bad", "fair", "good"))
    with running_service(folder, folder / "log", BATCH_SIZES="1,64", TOKEN_BUCKETS="64") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "Expected Chromium on the PATH for the browser tests. Install it: apt-get install chromium"
    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """A tab, with the requests it made and everything that went wrong in it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.requests: list[Request] = []
        self.faults: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.route("**/*", self._let_only_the_service_answer)
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)

    def _let_only_the_service_answer(self, route: Route) -> None:
        url = route.request.url
        if url.startswith(("blob:", self.url)):
            route.continue_()
        else:
            self.faults.append(f"asked for {url}")
            route.abort()

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.url + path)
        self.page.locator("select option").first.wait_for(state="attached")
        return self.page

    def read(self, text: str, path: str = "/") -> Page:
        page = self.open(path)
        page.get_by_label("Review").fill(text)
        page.locator(".reading .token").first.wait_for()
        return page


@pytest.fixture
def visit(browser: Browser, service: RunningService) -> Iterator[Visit]:
    """A tab at the service, where nothing may go wrong."""
    context = browser.new_context(
        viewport={"width": 1200, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    visit = Visit(context, service.url)
    yield visit
    assert visit.faults == []
    context.close()


def token(page: Page, text: str) -> Locator:
    return page.locator(".reading .token").get_by_text(text, exact=True).first


def probability(page: Page) -> str:
    return page.locator("[data-part=probability]").first.inner_text()


def test_an_answer_appears_while_typing(visit: Visit) -> None:
    page = visit.open()
    expect(page.get_by_text("Which words decide?")).to_be_visible()
    page.get_by_label("Review").press_sequentially("I did not like it", delay=5)
    expect(page.locator(".reading .token")).to_have_text(["I", "did", "not", "like", "it"])
    assert re.fullmatch(r"\d+\.\d%", probability(page))
    levels = page.locator(".reading .token").evaluate_all("all => all.map(each => Number(each.dataset.level))")
    assert max(levels) == 8
    expect(page.locator("#said")).to_contain_text("%")


def test_shades_change_with_the_view_and_agree_with_the_legend(visit: Visit) -> None:
    page = visit.read(REVIEW)
    assert set(page.locator(".reading .token").evaluate_all("all => all.map(each => each.dataset.sign)")) == {"none"}
    page.get_by_role("radio", name="Contribution").press("Space")
    signs = set(page.locator(".reading .token").evaluate_all("all => all.map(each => each.dataset.sign)"))
    assert signs <= {"plus", "minus"}
    expect(page.locator("#legend")).to_contain_text("towards negative")
    strongest = page.locator('.reading [data-level="8"]').first
    swatch = page.locator(f'#legend [data-level="8"][data-sign={strongest.get_attribute("data-sign")}]')
    for rule in ("backgroundColor", "borderBottomWidth", "borderBottomStyle"):
        look = f"each => getComputedStyle(each).{rule}"
        assert strongest.evaluate(look) == swatch.evaluate(look)


def test_a_mechanism_without_contributions_has_no_view_of_them(visit: Visit) -> None:
    page = visit.read(REVIEW)
    page.get_by_role("radio", name="Contribution").press("Space")
    page.get_by_role("combobox", name="Model").select_option("opaque")
    expect(page.get_by_role("radio", name="Contribution")).to_be_disabled()
    expect(page.get_by_role("radio", name="Weight")).to_be_checked()
    expect(page.locator("[data-part=scores] li")).to_have_count(3)
    page.get_by_role("combobox", name="Model").select_option("default")
    expect(page.get_by_role("radio", name="Contribution")).to_be_enabled()


def test_words_are_removed_restored_and_replaced_by_keys_alone(visit: Visit) -> None:
    page = visit.read("I did not like it.")
    before = probability(page)
    token(page, "I").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(page.locator("[data-part=word]")).to_have_text("not")
    expect(page.locator("[data-part=facts]")).to_contain_text("Contribution")
    figures = token(page, "not").get_attribute("aria-describedby")
    expect(page.locator(f"#{figures}")).to_contain_text("even share")
    page.keyboard.press("Enter")
    expect(page.locator(".reading del")).to_have_text("not")
    expect(page.locator(".reading del")).to_be_focused()
    assert before in page.locator("[data-part=change]").inner_text()
    page.keyboard.press("Control+z")
    expect(page.locator(".reading del")).to_have_count(0)
    assert probability(page) == before
    page.keyboard.press("F2")
    page.keyboard.type("really")
    page.keyboard.press("Enter")
    expect(page.locator(".reading")).to_have_text("I did notreally like it.")  # struck out, and what stands for it
    page.keyboard.press("Home")
    page.keyboard.press("Delete")
    expect(page.locator(".reading del")).to_have_text(["I", "not"])
    page.get_by_role("button", name="Restore the text").press("Enter")
    expect(page.locator(".reading del")).to_have_count(0)
    assert probability(page) == before


def test_what_is_shown_without_a_word_is_the_answer_for_the_text_without_it(visit: Visit) -> None:
    page = visit.read("A dull-witted plot.")
    token(page, "-").click()
    expect(page.locator(".reading del")).to_have_text("-")
    asked = json.loads(visit.requests[-1].post_data or "")
    assert asked["texts"] == ["A dull witted plot."]  # the neighbours stay apart


def test_arrow_keys_move_between_lines(visit: Visit) -> None:
    page = visit.read("so I did\nnot like\nit")
    token(page, "did").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("[data-part=word]")).to_have_text("like")
    page.keyboard.press("ArrowUp")
    expect(page.locator("[data-part=word]")).to_have_text("did")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_are_only_text(visit: Visit, text: str) -> None:
    page = visit.open()
    page.get_by_label("Review").evaluate(
        "(field, text) => { field.value = text; field.dispatchEvent(new Event('input', {bubbles: true})); }", text
    )
    page.locator(".reading .token").first.wait_for()
    assert page.locator(".reading").evaluate("each => each.textContent") == text
    assert page.locator(".reading").evaluate(
        "each => [...new Set([...each.querySelectorAll('*')].map(e => e.tagName))]"
    ) == ["SPAN"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for item in ("Download HTML", "Download SVG"):
        page.get_by_text("Share and keep").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=item).click()
        saved = download.value.path().read_text(encoding="utf-8")
        assert "<img" not in saved
        assert "<script" not in saved


def test_an_override_turns_no_other_word_round(visit: Visit) -> None:
    page = visit.read("I did \u202enot like it")
    places = page.locator(".reading .token").evaluate_all("all => all.map(each => each.getBoundingClientRect().left)")
    assert places == sorted(places)


def test_slices_are_the_tokens_of_texts_full_of_astral_characters(visit: Visit) -> None:
    page = visit.open()
    generator = random.Random(5)
    alphabet = [
        "like",
        "not",
        "plot",
        "film",
        " ",
        " ",
        ".",
        "🎬",
        "👩‍👩‍👧",
        "👎🏽",
        "🇪🇺",
        "𝓕",
        "𠜎",
        "é",
        "e\u0301",
        "\u200d",
        "ß",
        "电",
        "ก",
    ]
    texts = ["a " + "".join(generator.choices(alphabet, k=generator.randrange(1, 40))) for _ in range(1024)]
    wrong = page.evaluate(
        """async (texts) => {
            const { ask } = await import("/page/api.js");
            const { pieces, whole } = await import("/page/segments.js");
            const wrong = [];
            for (let at = 0; at < texts.length; at += 64) {
                const some = texts.slice(at, at + 64);
                const answer = await ask("predict", { texts: some, offset_encoding: "utf16" });
                some.forEach((text, i) => {
                    const found = pieces(whole(text), answer.predictions[i]);
                    const whole_text = found.map((piece) => piece.text).join("") === text;
                    if (!whole_text || found.some(({ text, token }) => token && token.text !== text)) wrong.push(text);
                });
            }
            return wrong;
        }""",
        texts,
    )
    assert wrong == []


def test_edits_keep_the_original_and_make_the_text_that_is_meant(visit: Visit) -> None:
    page = visit.open()
    wrong = page.evaluate(
        """async () => {
            const { whole, replace, restore, original, current } = await import("/page/segments.js");
            const text = "I did not like it. 🎬";
            const wrong = [];
            const any = (most) => Math.floor(Math.random() * (most + 1));
            for (let turn = 0; turn < 500; turn++) {
                let segments = whole(text), meant = text;
                for (let step = 0; step < 6; step++) {
                    const start = any(meant.length - 1), end = start + 1 + any(meant.length - start - 1);
                    const word = ["", " ", "x", "was 👎"][any(3)];
                    segments = replace(segments, start, end, word);
                    meant = meant.slice(0, start) + word + meant.slice(end);
                    const right = current(segments) === meant && original(segments) === text;
                    if (!right) wrong.push([start, end, word, segments]);
                    if (!meant) break;
                }
                segments.forEach((segment, index) => (segments = restore(segments, index)));
                if (current(segments) !== text) wrong.push(segments);
            }
            return wrong;
        }"""
    )
    assert wrong == []


def test_a_link_restores_everything_and_no_request_line_holds_the_text(visit: Visit, service: RunningService) -> None:
    page = visit.read("I did not like it. Unmistakable 🎬 & #1 +50%")
    page.get_by_role("radio", name="Contribution").press("Space")
    page.get_by_text("Share and keep").click()
    page.get_by_role("button", name="Copy a link").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    assert "Unmistakable" in urlsplit(link).fragment
    page.goto("about:blank")
    page.goto(link)
    expect(page.locator(".reading")).to_have_text("I did not like it. Unmistakable 🎬 & #1 +50%")
    expect(page.get_by_role("radio", name="Contribution")).to_be_checked()
    assert not [each.url for each in visit.requests if "Unmistakable" in each.url.split("#")[0]]
    assert "Unmistakable" not in service.log


def test_two_models_and_two_texts_stand_side_by_side_on_one_scale(visit: Visit) -> None:
    page = visit.read("I did not like it.")
    page.get_by_role("button", name="Compare").click()
    answers = page.locator(".answer")
    expect(answers).to_have_count(2)
    expect(answers.nth(1).locator(".reading .token")).to_have_count(6)
    expect(page.locator(".card")).to_have_count(2)
    levels = page.locator(".reading .token").evaluate_all("all => all.map(each => Number(each.dataset.level))")
    assert sorted(levels)[-1] == 8
    page.get_by_role("checkbox", name="The same text").uncheck()
    page.get_by_label("Review").nth(1).fill("A wonderful film")
    expect(answers.nth(1).locator(".reading")).to_have_text("A wonderful film")
    page.get_by_role("button", name="Close").click()
    expect(answers).to_have_count(1)


def test_the_table_says_the_same_and_sorts(visit: Visit) -> None:
    page = visit.read(REVIEW)
    page.get_by_text("As a table").click()
    expect(page.locator("tbody tr")).to_have_count(page.locator(".reading .token").count())
    page.get_by_role("button", name="Weight", exact=True).click()
    weights = [float(text) for text in page.locator("tbody td:nth-child(3)").all_inner_texts() if text[0] != "<"]
    assert weights == sorted(weights, reverse=True)
    expect(page.get_by_role("columnheader", name="Weight")).to_have_attribute("aria-sort", "descending")


def test_commands_and_programs_that_are_copied_run(visit: Visit, tmp_path: Path) -> None:
    text = 'It\'s "dull" \\ $HOME 🎬'
    page = visit.read(text)

    def copied(name: str) -> Any:
        page.get_by_text("Share and keep").click()
        page.get_by_role("button", name=name).click()
        return page.evaluate("navigator.clipboard.readText()")

    done = subprocess.run(["bash", "-euc", copied("Copy as curl")], capture_output=True, check=True)
    shown = json.loads(done.stdout)["predictions"][0]["tokens"]
    assert [text[each["start"] : each["end"]] for each in shown] == page.locator(".reading .token").all_inner_texts()
    program = tmp_path / "program.py"
    program.write_text(copied("Copy as Python"), encoding="utf-8")
    done = subprocess.run(["python3", program], capture_output=True, check=True)
    assert b"'label'" in done.stdout


def test_downloads_hold_what_is_on_screen(visit: Visit) -> None:
    page = visit.read(REVIEW)

    def saved(name: str) -> bytes:
        page.get_by_text("Share and keep").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        return download.value.path().read_bytes()

    answers = json.loads(saved("Download JSON"))
    assert answers[0]["text"] == REVIEW
    assert answers[0]["offset_encoding"] == "utf16"
    assert b"<svg" in (drawing := saved("Download SVG"))
    assert all(word in drawing for word in (b"wonderful", b"dull", "🎬".encode()))
    assert saved("Download PNG").startswith(b"\x89PNG")
    document = saved("Download HTML").decode()
    page.goto("about:blank")
    page.set_content(document)
    assert page.locator(".reading").text_content() == REVIEW
    assert page.locator("[role=button], script").count() == 0


def test_what_is_not_read_is_said(visit: Visit) -> None:
    page = visit.read("like it " * 40)
    expect(page.locator(".unread")).to_be_visible()
    assert page.locator("[data-part=count]").inner_text() == "64 of 80 tokens read"
    expect(page.locator("[data-part=warnings]")).to_contain_text("64")
    page = visit.read("like zzyzx")
    assert "unknown" in (token(page, "zzyzx").get_attribute("class") or "")


def test_a_refusal_is_shown_with_its_reason(visit: Visit) -> None:
    page = visit.read("I like it")
    page.get_by_label("Review").fill("like " * 5000)
    expect(page.get_by_role("alert")).to_contain_text("20,000 characters")
    assert visit.faults.pop().startswith("Failed to load resource")
    page.get_by_label("Review").fill("I like it")
    expect(page.locator(".reading")).to_be_visible()


def test_history_stays_in_the_browser_and_can_be_cleared(visit: Visit) -> None:
    page = visit.read("I did not like it.")
    page.locator("#history").wait_for()  # once the text is settled
    page.reload()
    page.get_by_text("History", exact=True).click()
    page.get_by_role("button", name="I did not like it.").click()
    expect(page.locator(".reading")).to_have_text("I did not like it.")
    page.get_by_role("button", name="Clear history").click()
    assert page.evaluate("localStorage.length") == 0


def test_the_first_paint_is_small_and_nothing_comes_from_elsewhere(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_load_state("networkidle")
    sizes = page.evaluate("performance.getEntries().map(each => each.encodedBodySize ?? 0)")
    assert 0 < sum(sizes) < LIMIT
    assert {urlsplit(each.url).netloc for each in visit.requests} == {urlsplit(visit.url).netloc}


def test_it_fits_a_narrow_screen(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 320, "height": 700})
    page = visit.read(REVIEW)
    for step in ("Contribution", "As a table", "Compare", "Share and keep"):
        page.get_by_text(step, exact=True).first.click()
        assert page.evaluate("document.documentElement.scrollWidth") == 320, step


def test_tokens_have_no_listeners_of_their_own(visit: Visit) -> None:
    """A review of thousands of tokens is drawn in one go, and listened to at one place."""
    page = visit.open()
    added = page.evaluate(
        """async () => {
            const { Reading } = await import("/page/reading.js");
            const root = document.querySelector("[data-part=reading]");
            const reading = new Reading(root, { select() {} }, "facts-1");
            const listen = EventTarget.prototype.addEventListener;
            let added = 0;
            EventTarget.prototype.addEventListener = function (...given) { added++; return listen.apply(this, given); };
            const token = { weight: 0.5, contribution: null, known: true };
            const gap = { kind: "gap", text: " " }, word = { kind: "token", text: "word", token };
            reading.draw(Array.from({ length: 4000 }, (_, at) => (at % 2 ? gap : word)));
            reading.shade("weight", 1);
            reading.select(1999);
            return [added, root.querySelectorAll(".current, [tabindex='0']").length];
        }"""
    )
    assert added == [0, 1]


def test_a_finger_taps_once_to_look_and_twice_to_remove(browser: Browser, service: RunningService) -> None:
    context = browser.new_context(has_touch=True, viewport={"width": 400, "height": 900})
    page = Visit(context, service.url).read("I did not like it.")
    token(page, "did").tap()
    expect(page.locator("[data-part=word]")).to_have_text("did")
    expect(page.locator(".reading del")).to_have_count(0)
    token(page, "did").tap()
    expect(page.locator(".reading del")).to_have_text("did")
    context.close()


def test_a_key_is_asked_for_and_kept_for_the_tab(browser: Browser, settings: Settings) -> None:
    keyed = settings.model_copy(update={"api_keys": Settings(api_keys="schlüssel").api_keys, "root_path": "/heed"})
    with ready_client_of(keyed) as client:
        context = browser.new_context()
        visit = Visit(context, str(client.base_url).rstrip("/"))
        page = visit.page
        page.goto(f"{visit.url}/heed/")  # behind a prefix, too
        for key in ("wrong", "schlüssel"):
            page.get_by_label("API key").fill(key)
            page.get_by_role("button", name="Use it").click()
        page.get_by_label("Review").fill("I like it")
        page.locator(".reading .token").first.wait_for()
        assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 1]
        assert all("401" in fault for fault in visit.faults)
        assert all(urlsplit(each.url).path.startswith("/heed/") for each in visit.requests)
        assert quote_plus("schlüssel") not in "".join(each.url for each in visit.requests)
        context.close()


def test_files_have_the_policy_and_a_tag(client: AppClient) -> None:
    for path in ("/", "/page/main.js", "/page/page.css", "/page/icon.svg"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-cache"
        again = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304
    assert client.get("/page/../app.py").status_code == 404
    assert client.get("/page/absent.js").json()["type"] == "urn:heed:problem:unknown-route"
