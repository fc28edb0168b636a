import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from persona_align.conditioning import pba, usable_readings
from persona_align.conditioning.budget import approximate_tokens
from persona_align.preferences import ALIGNX, PreferenceVector

PROMPT = [SystemMessage("Be kind."), HumanMessage("What shall I cook?")]


def lines_of(messages):
    return [line[2:] for line in messages[-1].content.splitlines() if line.startswith("- ")]


def test_strongest_first_and_poles_by_sign():
    vector = PreferenceVector.of({"conciseness": 0.9, "play": -0.4, "order": 0.7})
    assert lines_of(pba(PROMPT, vector)) == [
        "Concise communication style (strongly)",
        "Strong need for Order (neatness, organization, avoiding chaos) (strongly)",
        "Indifferent to Play (does not prioritize fun or relaxation)",
    ]


def test_nothing_confident_changes_nothing():
    for vector in (PreferenceVector.unknown(), PreferenceVector.of({"play": 0.9}, confidence=0.19)):
        assert pba(PROMPT, vector) == PROMPT


def test_topics_only_where_the_prompt_concerns_them():
    vector = PreferenceVector.of({"gourmet": 0.9, "cars": 0.9})
    assert pba(PROMPT, vector) == PROMPT
    assert lines_of(pba(PROMPT, vector, relevant={"gourmet"}.__contains__)) == ["Likes gourmet food (strongly)"]


def test_open_valued_dimensions_come_with_their_evidence_or_not_at_all():
    vector = PreferenceVector.of({"food_taste": 0.9})
    relevant = {"food_taste"}.__contains__
    assert pba(PROMPT, vector, relevant=relevant) == PROMPT
    shown = pba(PROMPT, vector, relevant=relevant, evidence={"food_taste": "I live on\n noodles."})
    assert lines_of(shown) == ['Likes a certain food: "I live on noodles."']


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_blocked_poles_never_reach_a_prompt(value):
    vector = PreferenceVector.of(dict.fromkeys(ALIGNX.keys, value))
    used = {reading.key for reading in usable_readings(vector, relevant=lambda _: True)}
    assert not used & {"aggression", "abasement"}
    quality = {d.key for d in ALIGNX if d.family == "response_quality"}
    assert (used & quality) == (quality if value > 0 else set())


@pytest.mark.parametrize("budget", [0, 20, 40, 60, 100, 400])
def test_the_budget_holds(budget):
    vector = PreferenceVector.of(dict.fromkeys(("conciseness", "play", "order", "humor", "affiliation"), 0.8))
    shown = pba(PROMPT, vector, max_tokens=budget)
    block = shown[-1].content.split("\n\n[Message]")[0] if shown != PROMPT else ""
    assert approximate_tokens(block) <= budget


def test_alignxpert_layout_is_the_papers():
    vector = PreferenceVector.of({"play": -0.5, "conciseness": 0.9, "order": 0.1})
    system, user = pba([HumanMessage("What shall I cook?")], vector, template="alignxpert")
    assert system.content == "Generate a task-specific response based on user preferences."
    assert user.content == (
        "***Task***\n\n**Post:**\nWhat shall I cook?\n\n***User Preferences***\n\n"
        "Concise communication style, Indifferent to Play (does not prioritize fun or relaxation)\n\n"
        "***Response:***\n\n"
    )


def test_alignxpert_names_the_most_extreme_where_nothing_crosses_a_threshold():
    vector = PreferenceVector.of({"play": -0.1, "order": 0.15})
    _, user = pba([HumanMessage("Hi")], vector, template="alignxpert")
    assert (
        "***User Preferences***\n\nStrong need for Order (neatness, organization, avoiding chaos)\n\n" in user.content
    )
