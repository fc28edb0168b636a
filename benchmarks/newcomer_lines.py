"""What somebody reads who wants to change one thing: lines of the files that the change touches or must respect.

Counted from the source, so it is exact and needs no quiet machine. The table in docs/change.md is made from it:
`python -m benchmarks.newcomer_lines` measures and rewrites both.
"""

import io
import json
import tokenize
from pathlib import Path
from typing import NamedTuple

from benchmarks._report import RESULTS, write

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "change.md"
BEGIN, END = "<!-- lines: begin -->", "<!-- lines: end -->"


class Change(NamedTuple):
    """Something to change: which files are read, and which tests hold it."""

    what: str
    read: tuple[str, ...]
    tests: str


CHANGES = (
    Change(
        "read another file format",
        ("formats/node.py", "formats/sharegpt.py", "formats/detect.py"),
        "tests/formats",
    ),
    Change(
        "choose other records for a prompt",
        ("memory/entry.py", "memory/retrieval.py"),
        "tests/memory/test_retrieval.py",
    ),
    Change(
        "weigh, decay or combine evidence otherwise", ("inference/posterior.py",), "tests/inference/test_posterior.py"
    ),
    Change(
        "word the prompt otherwise",
        ("conditioning/layouts.py", "conditioning/pba.py", "conditioning/ica.py"),
        "tests/conditioning",
    ),
    Change("add a dimension", ("preferences/space.py",), "tests/preferences/test_space.py"),
    Change("steer another architecture", ("steering/projections.py",), "tests/steering/test_projections.py"),
    Change(
        "fit offsets otherwise",
        ("steering/linear.py", "steering/search.py", "steering/offsets.py"),
        "tests/steering/test_search_linear.py",
    ),
    Change("add a mode", ("modes.py", "flow.py", "runnable.py"), "tests/test_flow.py"),
    Change("rank replies otherwise", ("inference/taste.py",), "tests/inference/test_taste.py"),
    Change(
        "add a command", ("cli.py", "commands/options.py", "commands/opening.py", "commands/correct.py"), "tests/cli"
    ),
)


def code_lines(text: str) -> int:
    """Lines that hold code: no blank ones, comments or docstrings."""
    found: set[int] = set()
    begins = True  # a string that begins a statement is a docstring
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            begins = True
        elif token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER):
            if not (begins and token.type == tokenize.STRING):
                found.update(range(token.start[0], token.end[0] + 1))
            begins = False
    return len(found)


def measured() -> dict[str, dict[str, object]]:
    """For each change: the files, their lines, and how many of them hold code."""
    result: dict[str, dict[str, object]] = {}
    for change in CHANGES:
        texts = [(ROOT / "persona_align" / file).read_text(encoding="utf-8") for file in change.read]
        if not (ROOT / change.tests).exists():
            raise FileNotFoundError(change.tests)
        result[change.what] = {
            "read": list(change.read),
            "lines": sum(text.count("\n") for text in texts),
            "code": sum(map(code_lines, texts)),
            "tests": change.tests,
        }
    return result


def table() -> str:
    """The committed measurements as Markdown."""
    results = json.loads((RESULTS / "newcomer_lines.json").read_text(encoding="utf-8"))["results"]
    rows = ["| to … | read | lines | of them code | held by |", "|---|---|---|---|---|"]
    for what, found in results["changes"].items():
        files = ", ".join(f"`{file}`" for file in found["read"])
        rows.append(f"| {what} | {files} | {found['lines']} | {found['code']} | `{found['tests']}` |")
    return "\n".join(rows)


def main() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "persona_align").rglob("*.py")]
    changes = measured()
    results = {
        "changes": changes,
        "mean_lines": round(sum(int(str(each["lines"])) for each in changes.values()) / len(changes)),
        "package_lines": sum(text.count("\n") for text in sources),
        "longest_file": max(text.count("\n") for text in sources),
        "files": len(sources),
    }
    print(write("newcomer_lines", results, seed=0))
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
