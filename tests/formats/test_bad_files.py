"""A bad file names its line and field, and gives no record before it is known to be sound."""

import json

import pytest

from persona_align.errors import InvalidRecordError
from persona_align.formats import open_source

GOOD = '{"role": "user", "content": "Hello"}\n'


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", '[{"messages": [{"role": "user", "content": "cut o', r"line 1: the JSON ends in the middle"),
        ("a.json", '[\n{"role": "user", "content": "x"},\n', r"line 3: the JSON ends in the middle"),
        ("a.jsonl", GOOD + '{"role": "user", "con', r"line 2: the JSON ends in the middle"),
        ("a.jsonl", GOOD + "\n" + '{"role": "user"}\n', r"line 3: content is missing"),
        ("a.jsonl", GOOD + '{"content": "x"}', r"line 2: role is missing"),
        ("a.jsonl", GOOD + '["x"]', r"line 2: the value must be an object with 'role', not a list"),
        ("a.jsonl", GOOD + '{"role": "narrator", "content": "x"}', r"line 2: role is the unknown role 'narrator'"),
        ("a.jsonl", GOOD + '{"role": "user", "content": " "}', r"line 2: content is empty"),
        ("a.jsonl", GOOD + '{"role": "user", "content": 5}', r"line 2: content must be a text or a list of parts"),
        ("a.jsonl", GOOD + '{"role": "user", "content": "\\ud800"}', r"line 2: content cannot be .* lone surrogate"),
        ("a.jsonl", GOOD + '{"role": "user", "content": "x", "at": NaN}', r"line 2: not JSON: NaN"),
        ("a.jsonl", GOOD + '{"role": "user", "content": "x", "at": "now"}', r"line 2: at is not a time: 'now'"),
        ("a.jsonl", GOOD + '{"role": "user", "content": "x", "at": 1e300}', r"line 2: at is not a time"),
        ("a.jsonl", GOOD + '{"role": "user", "content": "x", "at": "2024-01-01T10:00"}', r"at has no time zone"),
        ("a.jsonl", GOOD + '{"role": "user", "content": "x", "id": [1]}', r"line 2: id must be a text or a whole"),
        ("a.json", '[{"conversations": [{"from": "human", "value": "x"},\n{"from": "gpt"}]}]', r"2: .*value is mis"),
        ("a.json", '[{"type": "human", "data": {}}]', r"line 1: \[0\]\.data\.content is missing"),
        ("a.json", '[{"Pair-wise Comparative Feedback": [{"prompt": "x"}]}]', r"chosen is missing"),
        ("a.json", '[{"preference": "x", "question": "y",\n"conversation": {"a": {}}}]', r"2: .* must be numbered"),
        ("a.json", '[{"kind": "turn", "role": "user"}]', r"\[0\] cannot be recorded: .*text: Field required"),
        ("a.json", "", r"is empty"),
        ("a.json", " \n ", r"is empty"),
        ("a.json", "[]", r"holds an empty list"),
        ("a.json", "hello", r"line 1: not JSON"),
        ("a.json", "42", r"found a number, which is none of the known formats"),
        ("a.json", '{"title": "x", "body": 1}', r"found an object with 'title', 'body', which is none"),
        ("a.json", "[" * 100_000, r"nested too deeply"),
        ("a.json", "[" + "9" * 5000 + "]", r"not JSON"),
        ("a.jsonl", GOOD.encode() + b'{"role": "user", "content": "caf\xe9"}', r"line 2: not UTF-8 text"),
        ("a.json", bytes(range(256)), r"not UTF-8 text"),
    ],
)  # fmt: skip
def test_the_line_and_the_field_are_named(read, name, content, problem):
    with pytest.raises(InvalidRecordError, match=problem):
        read(content, name)


def test_the_line_of_a_pretty_printed_document_is_found(read):
    chats = [{"note": '"a, ]', "messages": [{"role": "user", "content": "x"}, {"content": "y"}]}]
    text = json.dumps(chats, indent=2)
    line = text[: text.index('"y"')].count("\n")
    with pytest.raises(InvalidRecordError, match=rf"line {line}: \[0\]\.messages\[1\]\.role is missing"):
        read(text)


def test_a_text_over_the_limit_is_refused_with_its_place(read):
    with pytest.raises(InvalidRecordError, match=r"\[0\]\.content cannot be recorded: .* 1,048,576 bytes"):
        read([{"role": "user", "content": "x" * 1_100_000}])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings_are_read(read, encoding):
    (record,) = read('[{"role": "user", "content": "Grüße"}]'.encode(encoding))
    assert record.text == "Grüße"


def test_a_folder_a_missing_file_and_an_unknown_format_are_refused(tmp_path, write):
    with pytest.raises(InvalidRecordError, match="is a folder"):
        open_source(tmp_path)
    with pytest.raises(InvalidRecordError, match="There is no file"):
        open_source(tmp_path / "none.json")
    with pytest.raises(InvalidRecordError, match="There is no format 'csv'"):
        open_source(write([]), "csv")


def test_a_named_format_that_does_not_fit_says_what_is_missing(read):
    with pytest.raises(InvalidRecordError, match="conversations is missing"):
        read({"messages": []}, format="sharegpt")


def test_lines_are_streamed(write, monkeypatch):
    import persona_align.formats.openai as format

    seen = 0
    original = format.message

    def counting(node):
        nonlocal seen
        seen += 1
        return original(node)

    monkeypatch.setattr(format, "message", counting)
    records = open_source(write(GOOD * 1000, "long.jsonl")).records()
    next(records)
    assert seen <= 2
