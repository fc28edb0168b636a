"""Whether what a user likes to talk about stays out of questions that have nothing to do with it.

For users of whom only one topic is known, PrefEval's distracting messages are asked, and the messages that reach the
model are compared with the user's own: the share that is left byte for byte as it was. Beside it, with the same vector,
how often a question about the topic itself is conditioned.

Run: python -m benchmarks.topic_gate [--messages 200]   (reads PERSONA_ALIGN_DATA, by default ../shared/data)
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _report
from persona_align.conditioning import usable_readings
from persona_align.encoder import open_encoder
from persona_align.inference import Topics
from persona_align.preferences import ALIGNX, PreferenceVector

SEED = 0
ASKED = (
    "Tell me something new about {topic}.",
    "What should a beginner know about {topic}?",
    "Recommend me a book on {topic}.",
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=200)
    given = parser.parse_args()
    distractors = asked_in_passing(Path(os.environ.get("PERSONA_ALIGN_DATA", "../shared/data")) / "prefeval")
    rng = np.random.default_rng(SEED)
    distractors = [distractors[i] for i in rng.permutation(len(distractors))[: given.messages]]
    encoder = open_encoder()
    topics = Topics(encoder, ALIGNX)
    keys = [d.key for d in ALIGNX if d.scope == "topic" and not d.open_valued]
    vectors = {key: PreferenceVector.of({key: 0.8}, confidence=0.8) for key in keys}
    untouched = np.zeros((len(keys), len(distractors)), dtype=bool)
    for column, encoding in enumerate(encoder.encode(distractors)):
        concerned = topics.relevant(encoding.content)
        for row, key in enumerate(keys):
            untouched[row, column] = not conditioned(vectors[key], concerned)
    reached = {}
    for key in keys:
        questions = [text.format(topic=key.replace("_", " ")) for text in ASKED]
        concerns = [topics.relevant(encoding.content) for encoding in encoder.encode(questions)]
        reached[key] = round(float(np.mean([conditioned(vectors[key], each) for each in concerns])), 3)
    results: dict[str, Any] = {
        "messages": len(distractors),
        "topics": len(keys),
        "untouched": round(float(untouched.mean()), 4),
        "untouched_worst_topics": {
            keys[i]: round(float(untouched[i].mean()), 3) for i in np.argsort(untouched.mean(1))[:5]
        },
        "untouched_user_of_all_topics": round(float(untouched.all(0).mean()), 4),
        "asked_about_the_topic_and_conditioned": round(float(np.mean(list(reached.values()))), 4),
        "asked_and_missed": {key: share for key, share in reached.items() if share < 1},
    }
    print(json.dumps(results, indent=2))
    print(_report.write("topic_gate", results, seed=SEED))


def conditioned(vector: PreferenceVector, concerned: frozenset[str]) -> bool:
    """Whether anything of the vector reaches the messages; the flow adds nothing where there is no usable reading."""
    return bool(usable_readings(vector, relevant=concerned.__contains__, evidence={}))


def asked_in_passing(folder: Path) -> list[str]:
    """What the users of PrefEval's distracting conversations say."""
    turns = json.loads((folder / "inter_turns.json").read_text(encoding="utf-8"))
    said = [turn["content"] for chat in turns for turn in chat["conversation"] if turn["role"] == "user"]
    return list(dict.fromkeys(text for text in said if text.strip()))


if __name__ == "__main__":
    main()
