"""`persona-align demo`: the whole flow on two people's histories, offline."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_align.commands.console import clean, print_json, progress, screen
from persona_align.commands.opening import chat_model
from persona_align.commands.options import AsJson
from persona_align.commands.show import quoted, readings, vector_table

if TYPE_CHECKING:
    from persona_align.aligner import PersonaAligner
    from persona_align.models import ChatTransformers

__all__ = ["MODES", "demo"]

MODES = {"base": "off", "ica": "ica", "pba": "pba", "pas": "pas", "rerank": "rerank"}
"""What the demo calls a way of answering, and the mode it is."""

_EXPLAINED = {
    "base": "as the model answers anybody",
    "ica": "shown what they wrote",
    "pba": "told what they prefer",
    "pas": "steered inside, prompt untouched",
    "rerank": "the best for them of several",
}


def demo(
    question: Annotated[
        str | None,
        typer.Option("--question", "-q", help="Ask this instead of the prepared question.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn from two people's chat histories, and answer one question for each of them in five ways.

    Everything is bundled and runs offline: turns go into memory, preferences are inferred without a language model,
    and the same question is answered plainly, with their records in the prompt (ICA), their preferences in the prompt
    (PBA), their preferences steered inside the model (PAS), and as the best of several replies (rerank).
    """
    chat = chat_model(None, temperature=0.0, max_tokens=160)
    with progress("Learning and answering", 2 + 2 * len(MODES)) as shown:
        result, tables = _run(chat, question, lambda: shown.advance(shown.task_ids[0]))
    if as_json:
        print_json(result)
    else:
        _tell(result, tables)


def _run(chat: "ChatTransformers", question: str | None, advance: Any) -> tuple[dict[str, Any], list[Any]]:
    from persona_align import PersonaAligner
    from persona_align.demo import QUESTION, sample_histories

    asked = question or QUESTION
    people: dict[str, dict[str, Any]] = {}
    tables = []
    with PersonaAligner.open() as aligner, _Passes(chat.model) as passes:
        for name, history in sample_histories().items():
            aligner.record(name, *history)
            people[name] = {"vector": _vector(aligner, name)}
            tables.append(vector_table(aligner, name, top=5))
            advance()
        learned_with = passes.count
        for name, person in people.items():
            for label, mode in MODES.items():
                aligned = aligner.wrap(chat, mode, record=False, seed=0)
                reply = aligned.invoke(asked, {"configurable": {"user_id": name}})
                person[label] = str(reply.text)
                advance()
        result = {**people, "llm_calls": learned_with, "reply_passes": passes.count - learned_with, "question": asked}
    return result, tables


class _Passes:
    """Counts the forward passes of a language model, whoever asks for them, and leaves no trace."""

    def __init__(self, model: Any) -> None:
        self.count = 0
        self._model = model

    def __enter__(self) -> "_Passes":
        self._handle = self._model.register_forward_pre_hook(self._counted)
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()

    def _counted(self, *_: Any) -> None:
        self.count += 1


def _vector(aligner: "PersonaAligner", user: str) -> dict[str, Any]:
    """The known dimensions with their strongest evidence in words."""
    vector = readings(aligner, user)
    for key, reading in vector.items():
        reading["because"] = [quoted(each.record) for each in aligner.explain(user, key)[:2]]
    return vector


def _tell(result: dict[str, Any], tables: list[Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = screen()
    people = [name for name, value in result.items() if isinstance(value, dict)]
    for name, table in zip(people, tables, strict=True):
        console.print(table)
        for key, reading in list(result[name]["vector"].items())[:3]:
            console.print(Text(f"  {key}: {'; '.join(reading['because'])}", style="bright_black"))
        console.print()
    console.print(f"LLM calls that learning took: {result['llm_calls']}\n")
    console.print(Text(f"Question: {result['question']}\n", style="bold"))
    replies = Table(show_lines=True, expand=True)
    replies.add_column("", width=16)
    for name in people:
        replies.add_column(name, ratio=1)
    for label, explained in _EXPLAINED.items():
        head = Text.assemble((label, "bold"), "\n", (explained, "bright_black"))
        replies.add_row(head, *(Text(clean(result[name][label])) for name in people))
    console.print(replies)
    console.print("Your own chats: persona-align ingest FILE --user YOU, then persona-align chat --user YOU")
