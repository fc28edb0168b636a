"""The floors of the house: who may import whom, and where third-party packages may appear."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "persona_align"

FLOORS = [
    {"errors"},
    {"preferences", "encoder", "records", "formats", "hub"},
    {"steering", "inference", "conditioning", "memory"},
    {"models"},
    {"runnable", "demo", "testing"},
    {"aligner", "asked", "flow", "modes", "export"},
    {"cli", "commands", "evaluation"},
]
STAGES = FLOORS[2]
FLOOR = {part: height for height, parts in enumerate(FLOORS) for part in parts}
HOMES = {
    "chromadb": {"memory"},
    "sentence_transformers": {"encoder"},
    "transformers": {"steering", "models", "demo", "evaluation"},
    "langchain_core": {
        "conditioning", "models", "runnable", "testing", "evaluation", "cli", "commands", "flow", "modes",
    },
}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Every module a file imports at run time, at any depth of nesting."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module or "")
            if node.module == "persona_align":
                found |= {f"persona_align.{alias.name}" for alias in node.names}
    return found


def test_every_part_has_a_floor() -> None:
    assert {part_of(path) for path in FILES} - {"__init__", "__main__"} <= set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_downward(path: Path) -> None:
    part = part_of(path)
    if part in {"__init__", "__main__"}:
        return
    for module in imports_of(path):
        if module.startswith("persona_align."):
            other = module.split(".")[1]
            if other not in FLOOR or other == part:
                continue
            assert FLOOR[other] <= FLOOR[part], f"{part} imports upward: {module}"
            assert not (part in STAGES and other in STAGES), f"one stage imports another: {part} -> {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_third_party_packages_stay_at_home(path: Path) -> None:
    part = part_of(path)
    for module in imports_of(path):
        home = HOMES.get(module.split(".")[0])
        assert home is None or part in home, f"{part} imports {module}; only {sorted(home or ())} may"


def test_importing_the_package_is_light() -> None:
    import subprocess

    script = "import sys, persona_align, persona_align.records, persona_align.preferences; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"torch", "transformers", "chromadb", "sentence_transformers", "langchain_core"}


def test_public_names_are_sorted_and_exist() -> None:
    import persona_align

    assert persona_align.__all__ == sorted(persona_align.__all__)
    for name in persona_align.__all__:
        assert getattr(persona_align, name).__doc__ or name == "ALIGNX"
