"""The anchor statements: enough of them, all different, all our own."""

import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from persona_align import preferences

FOLDER = Path(preferences.__file__).parent / "anchors"
OPEN_VALUED = {
    "food_taste", "living_environment", "knowledge_area", "learning_style", "work_environment", "creative_expression",
}  # fmt: skip


@pytest.fixture(scope="module")
def anchors():
    tables = {}
    for path in sorted(FOLDER.glob("*.toml")):
        tables[path.stem] = tomllib.loads(path.read_text(encoding="utf-8"))
    return tables


def _statements(anchors):
    return [
        (key, pole, sentence)
        for table in anchors.values()
        for key, poles in table.items()
        for pole in ("high", "low")
        for sentence in poles[pole]
    ]


def _plain(text):
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())


def test_every_dimension_has_eight_statements_a_pole_and_the_open_valued_ones_none(anchors):
    for table in anchors.values():
        for key, poles in table.items():
            for pole in ("high", "low"):
                assert len(poles[pole]) == 0 if key in OPEN_VALUED else len(poles[pole]) >= 8, (key, pole)


def test_statements_are_distinct_over_all_files(anchors):
    counts = Counter(_plain(sentence) for _, _, sentence in _statements(anchors))
    assert [sentence for sentence, count in counts.items() if count > 1] == []


def test_no_pole_repeats_one_opening(anchors):
    openings = Counter((key, pole, " ".join(_plain(s).split()[:3])) for key, pole, s in _statements(anchors))
    assert max(openings.values()) <= 3


def test_statements_are_short_and_vary_in_length(anchors):
    lengths = [len(sentence.split()) for _, _, sentence in _statements(anchors)]
    assert min(lengths) >= 2
    assert max(lengths) <= 20
    assert len(set(lengths)) >= 12


@pytest.mark.data
def test_keys_and_families_are_those_of_the_published_dimensions(anchors, benchmark_data):
    published = json.loads((benchmark_data / "alignx" / "dimensions.json").read_text())
    ours = {key: family for family, table in anchors.items() for key in table}
    assert ours == {entry["key"]: entry["family"] for entry in published}


@pytest.mark.data
def test_no_statement_is_in_any_file_of_the_benchmarks(anchors, benchmark_data):
    files = [path for path in benchmark_data.rglob("*") if path.suffix in {".json", ".csv"}]
    assert files
    # Joined by a character that no statement holds, so that no match runs over two files.
    text = " | ".join(_plain(path.read_text(encoding="utf-8")) for path in files)
    found = [sentence for _, _, sentence in _statements(anchors) if f" {_plain(sentence)} " in text]
    assert found == []
