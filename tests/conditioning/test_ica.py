import datetime as dt

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from persona_align.conditioning import ica
from persona_align.conditioning.budget import approximate_tokens
from persona_align.errors import PersonaAlignError
from persona_align.records import Comparison, Correction, Description, Turn

PROMPT = [SystemMessage("Be kind."), HumanMessage("Hello"), AIMessage("Hi!"), HumanMessage("What shall I cook?")]
RECORDS = [
    Turn(role="user", text="Keep it short."),
    Comparison(prompt="Why?", chosen="Because.", rejected="There are many reasons."),
    Description(text="A night-shift nurse."),
]


def block_of(messages):
    return messages[-1].content.split("\n\n[Message]")[0]


def test_the_stable_part_of_the_prompt_stays_and_nothing_given_is_changed():
    before = [message.model_dump() for message in PROMPT]
    shown = ica(PROMPT, RECORDS)
    assert [message.model_dump() for message in PROMPT] == before
    assert shown[:-1] == PROMPT[:-1]
    assert shown[-1].content.endswith("[Message]\nWhat shall I cook?")
    for text in ("Keep it short.", 'preferred "Because." to "There are many reasons."', "A night-shift nurse."):
        assert text in shown[-1].content


def test_no_records_or_no_human_message_changes_nothing():
    assert ica(PROMPT, []) == PROMPT
    assert ica(PROMPT[:1], RECORDS) == PROMPT[:1]


@pytest.mark.parametrize("budget", [0, 10, 40, 60, 80, 100, 500])
@pytest.mark.parametrize("template", ["default", "alignxpert"])
def test_the_budget_holds(budget, template):
    long = [Turn(role="user", text=f"{word} " * 30) for word in ("one", "two", "three")]
    shown = ica(PROMPT, [*long, *RECORDS], max_tokens=budget, template=template)
    if template == "default":
        added = block_of(shown) if shown != PROMPT else ""
        assert approximate_tokens(added) <= budget or not added
    else:
        section = (
            shown[-1].content.split("Preferences***\n\n")[-1].split("\n\n***Response")[0] if shown != PROMPT else ""
        )
        assert approximate_tokens(section) <= budget + 1


def test_a_short_record_still_fits_behind_one_that_is_too_long():
    shown = ica(PROMPT, [Turn(role="user", text="very " * 60), RECORDS[0]], max_tokens=60)
    assert "Keep it short." in shown[-1].content
    assert "very very" not in shown[-1].content


def test_dated_records_are_shown_oldest_first():
    days = [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (3, 1, 2)]
    shown = ica(PROMPT, [Turn(role="user", text=f"Said on day {day.day}.", at=day) for day in days])
    assert [line[-3] for line in block_of(shown).splitlines()[1:]] == ["1", "2", "3"]


def test_content_blocks_stay_blocks():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    message = HumanMessage([{"type": "text", "text": "What is this?"}, picture])
    content = ica([message], RECORDS)[0].content
    assert content[1:] == message.content
    assert content[0]["text"].startswith("[Earlier messages")


def test_alignxpert_layout_is_the_papers():
    system, user = ica([HumanMessage("What shall I cook?")], RECORDS, template="alignxpert")
    assert system.content == "Generate a task-specific response based on user historical behavior and preferences."
    assert user.content == (
        "***Task***\n\n**Post:**\nWhat shall I cook?\n\n"
        "***Historical Behavior and User Preferences***\n\n"
        "**This person has commented on some posts:**\n\n"
        "1. *Post:*\n\n\n*Comment:*\nKeep it short.\n\n"
        "**This person has chosen or rejected comments on some posts:**\n\n"
        "1. *Post:*\nWhy?\n\n*Chosen:*\nBecause.\n\n*Rejected:*\nThere are many reasons.\n\n"
        "A night-shift nurse.\n\n***Response:***\n\n"
    )


def test_bad_templates_and_records_are_refused():
    with pytest.raises(PersonaAlignError, match="alignxpert"):
        ica(PROMPT, RECORDS, template="chatml")
    with pytest.raises(TypeError, match="correction"):
        ica(PROMPT, [Correction(dimension="humor", value=0.5)])
