"""How often the bundled model speaks of what it was asked: a reply must hold one of the topic's own suggestions."""

import random
from typing import Any

from persona_align.conditioning.layouts import earlier_messages_block, preferences_block, with_block
from persona_align.demo.corpus.chats import preference_lines, record_lines
from persona_align.demo.corpus.texts import DIMENSIONS, POLES, Topic, topics, varied

COUNTS = {"told nothing": 0, "told 3 and brevity": 3, "told 5": 5, "shown 3": 3}


def on_topic(model: Any, tokenizer: Any, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """The share of replies on the topic, to held-out questions and to short ones of a kind that was trained on."""
    from benchmarks.demo_alignable import generate

    rng = random.Random(f"{seed} topics")
    asked = {
        "held-out questions": [(topic, rng.choice(topic.held_out)) for topic in topics()],
        "short questions": [(topic, varied(topic.also[0], rng)) for topic in topics()],
    }
    results: dict[str, dict[str, float]] = {}
    for kind, pairs in asked.items():
        results[kind] = {}
        for arm, count in COUNTS.items():
            replies = generate(model, tokenizer, [_prompt(arm, count, question, rng) for _, question in pairs])
            right = [_speaks_of(topic, text) for (topic, _), text in zip(pairs, replies, strict=True)]
            results[kind][arm] = round(sum(right) / len(right), 3)
        print(kind, results[kind], flush=True)
    return results


def _prompt(arm: str, count: int, question: str, rng: random.Random) -> str:
    keys = rng.sample([key for key in DIMENSIONS if key != "conciseness"], count)
    wishes = {key: rng.choice(POLES) for key in keys}
    if "brevity" in arm:
        wishes["conciseness"] = "high"
    if not wishes:
        return question
    if "shown" in arm:
        return with_block(earlier_messages_block(record_lines(wishes, rng)), question)
    return with_block(preferences_block(preference_lines(wishes, rng)), question)


def _speaks_of(topic: Topic, text: str) -> bool:
    suggestions = (*topic.usual, *topic.classic, *topic.novel)
    return any(suggestion.lower() in text.lower() for suggestion in suggestions)
