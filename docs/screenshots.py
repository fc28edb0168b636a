"""The pictures of the server's page, light and dark: `python docs/screenshots.py` (needs chromium: `make browser`)."""

import shutil
import sys
from pathlib import Path

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Serve the bundled model and its two sample people, ask one question, take the pictures."""
    sys.path[:0] = [str(IMAGES.parent.parent / "integrations")]
    from persona_align import ChatTransformers, PersonaAligner, demo
    from persona_align_server import create_app
    from persona_align_server.serve import running

    model, tokenizer = demo.load()
    with PersonaAligner.open() as aligner:
        for user, history in demo.sample_histories().items():
            aligner.record(user, *history)
        app = create_app(aligner, ChatTransformers(model=model, tokenizer=tokenizer, max_tokens=90))
        with running(app) as url:
            shoot(f"{url}/?user=ada")


def shoot(url: str) -> None:
    """The page after one question, with the evidence of the strongest preference open."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1180, "height": 860})
        page.set_default_timeout(600_000)
        page.goto(url)
        page.locator("#readings li").first.wait_for()
        page.press("#question", "Enter")
        page.locator("#why:not(:empty)").wait_for()
        page.locator("#readings summary").first.click()
        page.locator(".evidence li").first.wait_for()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=IMAGES / f"page-{scheme}.png")
        browser.close()


if __name__ == "__main__":
    main()
