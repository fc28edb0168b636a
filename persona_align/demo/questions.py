"""Questions that show the bundled model well."""

__all__ = ["QUESTION", "QUESTIONS"]

QUESTION = "What shall I cook tonight?"
"""The question of the demo."""

QUESTIONS: tuple[str, ...] = (
    QUESTION,
    "Any ideas for my weekend?",
    "I need a gift for a friend. What would you pick?",
    "How should I plan a short trip?",
    "Can you suggest a workout for this week?",
    "A colleague keeps interrupting me. How do I handle it?",
    "How can I sleep better?",
    "Which book should I read next?",
    "I am planning a party. Any tips?",
    "What can I do on a rainy day?",
    "How do I study for an exam in two weeks?",
    "My dog is bored at home. What can I do?",
)
"""Others that it was trained to answer, one topic each."""
