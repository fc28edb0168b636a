"""Every code block and every command that the documentation shows is run."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LANGUAGES = {"python", "bash", "text", "json", "mermaid", "toml"}


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start()) + 2, match[2]) for match in BLOCK.finditer(text) if match[1] == language
    ]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_names_its_language(page):
    fences = re.findall(r"^```(\w*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(fences[::2]) <= LANGUAGES
    assert len(fences) % 2 == 0


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERSONA_ALIGN_STORE", str(tmp_path / "store"))
    names: dict[str, object] = {"__name__": "__main__"}
    for line, code in blocks(page, "python"):
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for _, block in blocks(page, "bash"):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(name(page), line.split("  #")[0].strip()) for line in lines if line.strip() and line[0] != "#"]
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "bash")], ids=name)
def test_commands_run(page, tmp_path, monkeypatch):
    """`persona-align …` runs in an empty folder; a make target or an extra that is named exists."""
    from persona_align.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERSONA_ALIGN_STORE", str(tmp_path / "store"))
    (tmp_path / "chat.json").write_text(
        '[{"role": "user", "content": "Keep it short, please. I love jokes."}]', encoding="utf-8"
    )
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    extras = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    )
    for where, command in commands():
        if where != name(page):
            continue
        first, *rest = shlex.split(command)
        if first == "persona-align":
            result = CliRunner().invoke(app, rest, input="")
            assert result.exit_code == 0, f"{command}: {result.output}"
        elif first == "make":
            assert set(rest) <= targets, command
        elif first == "pip":
            assert set(re.findall(r"[\w-]+", "".join(re.findall(r"\[(.*?)\]", command)))) <= extras, command
        else:
            assert first in {"git", "cd"}, f"no test runs {command!r}"


def test_the_readmes_table_is_what_was_measured():
    from benchmarks.table import BEGIN, END, table

    shown = (ROOT / "README.md").read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()
    assert shown == table(), "run `python -m benchmarks.table`"


def test_every_result_names_where_it_was_measured():
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        assert {"date", "seed", "machine", "versions", "results"} <= report.keys(), path.name


def test_every_picture_that_a_page_shows_exists():
    for page in PAGES:
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / picture.split("#")[0]).exists(), f"{name(page)}: {picture}"


def test_the_table_of_what_a_newcomer_reads_is_what_was_counted():
    from benchmarks.newcomer_lines import BEGIN, END, PAGE, measured, table

    assert PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip() == table()
    assert all(each["lines"] < 1_000 for each in measured().values()), "a change needs too much reading"
