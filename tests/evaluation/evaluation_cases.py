"""Small benchmark files of our own, in the formats of the public ones."""

import json
from pathlib import Path

TOPICS = ("the moon", "a river", "bread", "the wind", "a clock", "iron")


def simple(topic: str) -> str:
    return f"It is a fun thing! You can see {topic} and say wow."


def learned(topic: str) -> str:
    return f"Contemporary scholarship characterises {topic} as a phenomenon of considerable theoretical complexity."


def case(number: int, child: bool) -> dict:
    def pair(topic: str) -> dict:
        both = (simple(topic), learned(topic))
        chosen, rejected = both if child else both[::-1]
        return {"prompt": f"Explain {topic}.", "chosen": chosen, "rejected": rejected}

    topics = TOPICS[number % len(TOPICS) :] + TOPICS[: number % len(TOPICS)]
    return {
        **pair(topics[0]),
        "ground_truth_persona": "a child" if child else "a scholar",
        "profile": "Likes science",
        "Pair-wise Comparative Feedback": [pair(topic) for topic in topics[1:4]],
    }


def write_psoups(folder: Path) -> Path:
    path = folder / "psoups" / "child_scholar.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([case(i, child=i % 2 == 0) for i in range(8)]), encoding="utf-8")
    return path


DISTRACTORS = (
    "How do I sort a list in Python?",
    "Write a limerick about a teapot.",
    "What is the capital of Peru?",
    "Explain the offside rule.",
    "Translate this sentence into Dutch.",
    "List five uses of vinegar.",
    "Who painted the Night Watch?",
    "Fix the typo in the second paragraph.",
)


def write_prefeval(folder: Path) -> Path:
    root = folder / "prefeval"
    turns = [{"role": "user", "content": text} for text in DISTRACTORS]
    answers = [{"role": "assistant", "content": "I love fish, by the way."}]
    explicit = {"preference": "I can't stand fish of any kind.", "question": "What shall I order by the sea?"}
    games = {"preference": "I find racing games dull.", "question": "Which game shall I buy next?"}
    talk = ("Good morning! Can you name three rivers?", "Thanks! I can't stand fish, by the way. And three lakes?")
    play = ("Please write a haiku.", "Nice. I find racing games dull, but how long is a sonnet?")
    for name, first, said in (("food", explicit, talk), ("games", games, play)):
        spoken = {str(i): {"user": text, "assistant": "Of course."} for i, text in enumerate(said)}
        for part, found in (("explicit", first), ("persona", {**first, "conversation": spoken})):
            (root / part).mkdir(parents=True, exist_ok=True)
            (root / part / f"{name}.json").write_text(json.dumps([found]), encoding="utf-8")
    (root / "inter_turns.json").write_text(json.dumps([{"conversation": turns + answers}]), encoding="utf-8")
    return root
