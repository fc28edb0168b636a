"""One hash over everything around the words that the model was trained on, so that a later change is noticed."""

import hashlib
import json

from persona_align.conditioning import ica_line, pba_line
from persona_align.conditioning.layouts import LAYOUT_VERSION, earlier_messages_block, preferences_block, with_block
from persona_align.demo.tokens import TEMPLATE
from persona_align.preferences import PreferenceVector
from persona_align.records import Comparison, Description, Turn
from persona_align.steering.questionnaire import QUESTIONNAIRE_VERSION, questionnaire

__all__ = ["layouts_hash"]


def layouts_hash() -> str:
    """A SHA-256 over samples of the PBA, ICA and questionnaire layouts and the chat template."""
    vector = PreferenceVector.of({"humor": 0.9, "order": -0.4})
    records = (
        Turn(role="user", text="t"),
        Comparison(prompt="p", chosen="c", rejected="r"),
        Description(text="d"),
    )
    samples = [
        LAYOUT_VERSION,
        QUESTIONNAIRE_VERSION,
        with_block(preferences_block([pba_line(vector[key]) for key in ("humor", "order")]), "m"),
        with_block(earlier_messages_block([ica_line(record) for record in records]), "m"),
        questionnaire("s", [("a", 1), ("b", 5)], persona="x"),
        questionnaire("s", [("a", 1)], reverse=True),
        TEMPLATE,
    ]
    return hashlib.sha256(json.dumps(samples, sort_keys=True).encode()).hexdigest()
