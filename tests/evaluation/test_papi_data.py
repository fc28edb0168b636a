"""The PAPI loader: keying, missing values, formats, and tables that must not be believed."""

import csv
import json

import numpy as np
import pytest

from persona_align.errors import InvalidRecordError
from persona_align.evaluation.papi_data import check_keying, load_items, load_people, stream_people

FACETS = [f"{trait}{k}" for k in (1, 2) for trait in "OCEAN"]


@pytest.fixture
def table(tmp_path):
    """Twenty items over all traits, and thirty people with real traits, stored as trait scores."""
    rng = np.random.default_rng(0)
    items = [(k + 1, "+-"[k // 10], FACETS[k % 10], "train" if k % 2 else "test") for k in range(20)]
    with (tmp_path / "items.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item", "sign", "facet_key", "facet", "text", "split"])
        writer.writerows([k, sign, facet, facet, f"Statement {k}.", split] for k, sign, facet, split in items)
    trait = rng.normal(size=(30, 5))
    scores = np.array([[trait[p, "OCEAN".index(f[0])] for _, _, f, _ in items] for p in range(30)])
    stored = np.clip(np.round(3 + 1.2 * scores + 0.4 * rng.normal(size=scores.shape)), 1, 5).astype(int)
    stored[0, 3] = 0
    return tmp_path, items, stored


def write_csv(folder, stored, name="subjects.csv"):
    with (folder / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "sex", "age", *[f"i{k + 1}" for k in range(stored.shape[1])]])
        writer.writerows([100 + p, 1 + p % 2, 20 + p, *row] for p, row in enumerate(stored))
    return folder / name


def write_json(folder, stored, indent=4):
    rows = [
        {
            "case": 100 + p,
            "sex": 1 + p % 2,
            "age": 20 + p,
            "country": "X",
            **{f"i{k + 1}": int(v) for k, v in enumerate(row)},
        }
        for p, row in enumerate(stored)
    ]
    (folder / "people.json").write_text(json.dumps(rows, indent=indent))
    return folder / "people.json"


def test_reverse_keyed_answers_are_turned_back_and_missing_ones_masked(table):
    folder, items, stored = table
    people = load_people(write_csv(folder, stored), load_items(folder / "items.csv"))
    expected = np.where([sign == "-" for _, sign, _, _ in items], 6 - stored, stored).astype(float)
    expected[0, 3] = np.nan
    np.testing.assert_array_equal(people.agreement, expected)
    assert (people.cases[0], people.sexes[0], people.ages[0]) == ("100", 1, 20.0)


@pytest.mark.parametrize("indent", [None, 4])
def test_the_published_json_reads_the_same(table, indent):
    folder, _, stored = table
    items = load_items(folder / "items.csv")
    from_csv, from_json = (
        load_people(write(folder, stored), items) for write in (write_csv, lambda f, s: write_json(f, s, indent))
    )
    np.testing.assert_array_equal(from_csv.agreement, from_json.agreement)
    assert from_csv.cases == from_json.cases


def test_long_tables_come_in_blocks(table):
    folder, _, stored = table
    items = load_items(folder / "items.csv")
    blocks = [len(block) for block in stream_people(write_json(folder, np.tile(stored, (40, 1))), items, block=500)]
    assert blocks == [500, 500, 200]


def test_raw_agreement_is_refused_with_an_explanation(table):
    folder, items, stored = table
    raw = np.where([sign == "-" for _, sign, _, _ in items], np.where(stored == 0, 0, 6 - stored), stored)
    with pytest.raises(InvalidRecordError, match=r"reverse-keyed statement is stored as 6 minus"):
        load_people(write_csv(folder, raw), load_items(folder / "items.csv"))


def test_a_few_people_are_not_judged(table):
    folder, _, stored = table
    items = load_items(folder / "items.csv")
    check_keying(load_people(write_csv(folder, stored), items).agreement[:5][:, ::-1], items)


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [(4, "i7", "9", "row 6: i7 is '9'"), (0, "i1", "x", "row 2: i1 is 'x'"), (2, "i2", "2.5", "i2")],
)
def test_a_value_that_is_no_answer_is_named(table, row, column, value, message):
    folder, _, stored = table
    path = write_csv(folder, stored)
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    lines[row + 1][lines[0].index(column)] = value
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    with pytest.raises(InvalidRecordError, match=message):
        load_people(path, load_items(folder / "items.csv"))


def test_a_missing_column_is_named(table):
    folder, _, stored = table
    with pytest.raises(InvalidRecordError, match="i20"):
        load_people(write_csv(folder, stored[:, :19]), load_items(folder / "items.csv"))
    (folder / "bad.csv").write_text("item,sign,text\n1,+,x\n")
    with pytest.raises(InvalidRecordError, match="facet_key"):
        load_items(folder / "bad.csv")


@pytest.mark.parametrize("row", ["1,x,O1,a,b,train", "1,+,Z1,a,b,train", "1,+,O1,a,b,both"])
def test_an_item_line_that_cannot_be_read_is_named(tmp_path, row):
    (tmp_path / "items.csv").write_text(f"item,sign,facet_key,facet,text,split\n{row}\n")
    with pytest.raises(InvalidRecordError, match="line 2"):
        load_items(tmp_path / "items.csv")


@pytest.mark.parametrize("text", ["", "[", '[{"case": 1', "[1, 2]"])
def test_a_broken_json_file_is_refused(table, text):
    folder, _, _ = table
    (folder / "people.json").write_text(text)
    with pytest.raises(InvalidRecordError):
        load_people(folder / "people.json", load_items(folder / "items.csv"))


@pytest.mark.data
def test_the_real_people(benchmark_data):
    items = load_items(benchmark_data / "papi/items.csv")
    people = load_people(benchmark_data / "papi/subjects.csv", items)
    assert people.agreement.shape == (150, 300)
    assert int(items.train.sum()) == 120
    assert 0 < np.isnan(people.agreement).mean() < 0.01
    with pytest.raises(InvalidRecordError, match="reverse-keyed"):
        check_keying(np.where(items.signs < 0, 6 - people.agreement, people.agreement), items)
