"""The documentation builds without a warning, and what it links to exists."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_builds_strictly(tmp_path):
    site = tmp_path / "site"
    built = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr, built.stderr
    reference = (site / "reference" / "index.html").read_text(encoding="utf-8")
    for name in ("persona_align.aligner.PersonaAligner.forget", "persona_align_agents.PersonaMiddleware"):
        assert f'id="{name}"' in reference, name
    assert "<p>Example" not in reference, "an example is code, not prose"
    assert 'class="gp">&gt;&gt;&gt;' in reference
    assert not list(site.glob("*.py"))


def test_every_themed_picture_has_its_other_theme():
    names = {path.stem for path in (ROOT / "docs" / "images").glob("*-*.svg")}
    assert len(names) >= 10
    assert {name.removesuffix("-light") for name in names if name.endswith("-light")} == {
        name.removesuffix("-dark") for name in names if name.endswith("-dark")
    }
