"""The page in a real browser: the main journeys, with the keyboard too."""

import re
import shutil

import pytest

from persona_align import Comparison, PersonaAligner, Turn
from persona_align.testing import EchoChat
from persona_align_server import create_app
from persona_align_server.serve import running

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: `make browser` installs it"),
    pytest.mark.slow,
]
SHORT = "Please keep your answers short and to the point, I hate long explanations."
HOSTILE = "Soup. <img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def aligner(encoder):
    with PersonaAligner.open(encoder=encoder) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(aligner):
    with running(create_app(aligner, EchoChat())) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=[*quiet, "--disable-component-update"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, address, aligner):
    aligner.forget("ada")
    aligner.record("ada", Turn(role="user", text=SHORT))
    opened = browser.new_page()
    errors = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.goto(address)
    opened.locator("#readings li").first.wait_for()
    yield opened
    opened.close()
    assert errors == []


def test_two_answers_side_by_side_and_why(page):
    page.fill("#question", "What shall I cook?")
    page.press("#question", "Enter")
    page.locator("#why:not(:empty)").wait_for()
    assert page.text_content("#base") == "What shall I cook?"
    assert "Concise communication style" in page.text_content("#aligned")
    assert "conciseness" in page.text_content("#why")


def test_evidence_correction_and_the_next_reply(page):
    page.locator("#readings summary").first.click()
    page.locator(".evidence li").first.wait_for()
    assert SHORT in page.text_content(".evidence li")
    slider = page.locator("#readings input[type=range]").first
    slider.focus()
    page.keyboard.press("Home")
    page.locator("button.lock").first.click()
    page.locator(".pole", has_text=re.compile("^Detailed")).first.wait_for()
    assert page.text_content(".set .low") == "Detailed communication style"
    assert page.text_content(".set .high") == "Concise communication style"
    assert page.text_content(".fill.negative") == ""
    page.fill("#question", "And now?")
    page.press("#question", "Enter")
    page.locator("#why:not(:empty)").wait_for()
    assert "Detailed communication style" in page.text_content("#aligned")
    page.locator("button.release").first.click()
    page.locator(".pole", has_text=re.compile("^Concise")).first.wait_for()


def test_a_preferred_reply_becomes_a_comparison(page, aligner):
    page.press("#question", "Enter")
    page.locator("#feedback button").first.click()
    page.locator("#feedback").wait_for(state="hidden")
    assert [r["kind"] for r in aligner.export("ada")["records"]].count("comparison") == 1


def test_forget_me_asks_first_and_shows_a_receipt(page, aligner):
    page.click("#forget")
    assert page.evaluate("document.activeElement.value") == "cancel"
    page.keyboard.press("Escape")
    assert aligner.export("ada")["records"]
    page.click("#forget")
    page.click("#sure button[value=erase]")
    page.locator("#receipt").wait_for()
    page.locator("#nothing").wait_for()
    assert aligner.export("ada")["records"] == []


def test_stored_text_is_shown_and_never_run(page, aligner, address):
    aligner.record("ada", Comparison(prompt="Dinner?", chosen=HOSTILE, rejected="A wonderful soup with carrots. " * 9))
    page.reload()
    page.locator("#readings summary", has_text="Concise").click()
    hostile = page.locator(".evidence li", has_text="Soup.")
    hostile.wait_for()
    assert "<script>" in hostile.text_content()
    assert page.title() == "persona-align"
    assert page.locator("#readings img, #readings script").count() == 0


def test_everything_is_reachable_by_keyboard_and_labelled(page):
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"user", "question", "SUMMARY", "export", "forget"} <= reached
    unlabelled = page.evaluate(
        "[...document.querySelectorAll('input')].filter(i => !i.labels.length && !i.ariaLabel).map(i => i.outerHTML)"
    )
    assert unlabelled == []
    assert page.get_attribute("html", "lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(page, scheme):
    page.emulate_media(color_scheme=scheme)
    for selector in ("body", ".note", "#forget", "button[type=submit]", ".number"):
        ink, ground = page.evaluate(
            """selector => {
              const element = document.querySelector(selector);
              let back = element;
              const clear = each => getComputedStyle(each).backgroundColor === 'rgba(0, 0, 0, 0)';
              while (clear(back) && back.parentElement) back = back.parentElement;
              return [getComputedStyle(element).color, getComputedStyle(back).backgroundColor];
            }""",
            selector,
        )
        assert contrast(ink, ground) >= 4.5, f"{selector}: {ink} on {ground}"


def contrast(ink: str, ground: str) -> float:
    """The ratio of WCAG 2."""
    light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
