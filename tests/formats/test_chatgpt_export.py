"""ChatGPT's export: the branch that is shown, what was regenerated, and the zip."""

import json
import zipfile
from datetime import UTC, datetime

import pytest

from persona_align.errors import InvalidRecordError
from persona_align.formats import open_source
from persona_align.records import Comparison, Description, Turn


def node(name, parent, role=None, text=None, children=(), **more):
    message = None
    if role:
        content = {"content_type": "text", "parts": [text]} if isinstance(text, str) else text
        message = {"id": f"m-{name}", "author": {"role": role}, "content": content, "create_time": 1.7e9, **more}
    return {"id": name, "parent": parent, "children": list(children), "message": message}


def conversation(**changes):
    hidden = {"is_visually_hidden_from_conversation": True}
    about = {"about_user_message": "I am a nurse.", "about_model_message": "Answer briefly."}
    code = {"content_type": "code", "text": "search()"}
    nodes = [
        node("root", None, children=["sys"]),
        node("sys", "root", "system", "", children=["ctx"], metadata=hidden),
        node("ctx", "sys", "user", {"content_type": "user_editable_context"}, ["ask"],
             metadata={**hidden, "user_context_message_data": about}),
        node("ask", "ctx", "user", "Which tea?", ["first", "second"]),
        node("first", "ask", "assistant", "There are many teas to think about."),
        node("second", "ask", "assistant", "Camomile.", ["call"]),
        node("call", "second", "assistant", code, ["more"], recipient="browser"),
        node("more", "call", "user", {"content_type": "multimodal_text", "parts": [{"asset": "x"}, "And here?"]}),
    ]  # fmt: skip
    mapping = {each["id"]: each for each in nodes}
    return {"title": "Tea", "conversation_id": "c1", "current_node": "more", "mapping": mapping, **changes}


def test_the_shown_branch_the_regeneration_and_the_instructions(read):
    records = read([conversation()])
    assert [record.text for record in records if isinstance(record, Turn)] == [
        "Answer briefly.",
        "Which tea?",
        "Camomile.",
        "And here?",
    ]
    assert [record.text for record in records if isinstance(record, Description)] == ["I am a nurse."]
    (pair,) = [record for record in records if isinstance(record, Comparison)]
    assert (pair.prompt, pair.chosen, pair.rejected) == (
        "Which tea?",
        "Camomile.",
        "There are many teas to think about.",
    )
    asked = records[2]
    assert (asked.thread_id, asked.at) == ("c1", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    assert len({record.id for record in records}) == len(records)


def test_a_reply_that_the_user_did_not_go_on_from_is_no_choice(read):
    given_up = conversation(current_node="second")
    assert not [record for record in read([given_up]) if isinstance(record, Comparison)]


def test_without_a_current_node_the_newest_branch_is_read(read):
    texts = [record.texts[0] for record in read([conversation(current_node=None)])]
    assert "Camomile." in texts
    assert "And here?" in texts


def test_the_zip_is_read_as_it_was_mailed(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conversations-000.json", json.dumps([conversation()]))
        archive.writestr("conversations-001.json", json.dumps([conversation(conversation_id="c2")]))
        archive.writestr("chat.html", "<html>")
    source = open_source(path)
    assert source.format == "chatgpt-export"
    assert {record.thread_id for record in source.records() if isinstance(record, Turn)} >= {"c1", "c2"}
    assert len(list(source.records())) == len(list(source.records()))


def test_a_zip_of_something_else_is_refused(tmp_path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat.jpg", b"")
    with pytest.raises(InvalidRecordError, match="without a conversations"):
        open_source(path)


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ({"current_node": "gone"}, "'gone', which is not in the mapping"),
        ({"mapping": {"a": node("a", "b"), "b": node("b", "a")}, "current_node": "a"}, "in a circle"),
        ({"mapping": {"a": node("a", "b"), "b": node("b", "a")}, "current_node": None}, "no first message"),
        ({"mapping": {"a": node("a", None, "oracle", "x")}, "current_node": "a"}, "unknown role 'oracle'"),
    ],
)
def test_a_broken_tree_is_told(read, broken, problem):
    with pytest.raises(InvalidRecordError, match=problem):
        read([conversation(**broken)])
