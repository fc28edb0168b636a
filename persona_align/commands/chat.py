"""`persona-align chat`: talk to a model that answers as this user likes."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_align.commands.console import FAINT, clean, note, print_json, screen
from persona_align.commands.opening import chat_model, named, opened
from persona_align.commands.options import DEFAULT_STORE, AsJson, Encoder, Mode, Model, Store, Strength
from persona_align.errors import PersonaAlignError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage

    from persona_align.runnable import AlignedRunnable

__all__ = ["chat"]

_REMEMBERED = 12
"""Messages of the running conversation that are sent along; what matters from before is in memory."""


def chat(
    user: Annotated[str, typer.Option("--user", "-u", help="Who is talking: any id, for instance ada.")],
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Ask one thing and stop, instead of a conversation.")
    ] = None,
    model: Model = None,
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode",
            help="auto: steering with a short line in the prompt where the model has a basis, else pba. ica: records "
            "in the prompt. pba: preferences in the prompt. pas: steering alone. rerank: best of several. off.",
        ),
    ] = "auto",
    strength: Strength = 1.0,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="0 gives the same reply each time.")
    ] = 0.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The longest reply.")] = 256,
    thread: Annotated[str | None, typer.Option("--thread", help="An id for this conversation.")] = None,
    record: Annotated[bool, typer.Option("--record/--no-record", help="Whether this chat is learned from.")] = True,
    why: Annotated[bool, typer.Option("--why", help="Say after each reply what shaped it.")] = False,
    store: Store = DEFAULT_STORE,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Talk to a model whose replies are aligned with what is known of you, as they are written.

    What you write is recorded and learned from at once. End with an empty line, /exit or Ctrl-D. Without a terminal,
    one message is read from each line.

    Example: persona-align chat --user ada --message "What shall I cook?"
    """
    named(user)
    if as_json and message is None:
        raise PersonaAlignError("--json gives one reply.", "Name what to ask with --message TEXT.")
    if message is not None and not message.strip():
        raise PersonaAlignError("There is nothing to answer.", "Say something with --message TEXT.")
    chat = chat_model(model, temperature=temperature, max_tokens=max_tokens)
    with opened(store, encoder, new=True) as aligner:
        aligned = aligner.wrap(chat, mode, strength=strength, record=record)
        configurable = {"user_id": user} | ({"thread_id": thread} if thread else {})
        talk = _Talk(aligned, configurable, why=why)
        if message is not None and as_json:
            reply = aligned.invoke(message, {"configurable": configurable})
            shaped = reply.response_metadata.get("persona_align", {})
            print_json({"user_id": user, "reply": str(reply.text), "why": shaped})
        elif message is not None:
            talk.ask(message)
        else:
            for line in _lines(user):
                talk.ask(line)


class _Talk:
    """One running conversation."""

    def __init__(self, aligned: "AlignedRunnable", configurable: dict[str, str], *, why: bool) -> None:
        self._aligned = aligned
        self._config: Any = {"configurable": configurable}
        self._why = why
        self._messages: list[BaseMessage] = []

    def ask(self, text: str) -> None:
        """Print one reply as it is written."""
        from langchain_core.messages import AIMessage, HumanMessage

        self._messages = [*self._messages[-_REMEMBERED:], HumanMessage(text)]
        said = ""
        shaped: dict[str, Any] = {}
        for chunk in self._aligned.stream(self._messages, self._config):
            shaped = shaped or chunk.response_metadata.get("persona_align", {})
            said += chunk.text
            typer.echo(clean(chunk.text), nl=False)
            sys.stdout.flush()
        typer.echo()
        self._messages.append(AIMessage(said))
        if self._why:
            screen(error=True).print(_shaped(shaped), style=FAINT, markup=False)


def _shaped(why: dict[str, Any]) -> str:
    parts = [f"mode {why.get('mode', 'off')}"]
    for name in ("dimensions", "steered"):
        if why.get(name):
            listed = ", ".join(f"{key} {value:+.2f}" for key, value in why[name].items())
            parts.append(f"{name}: {listed}")
    if why.get("records"):
        parts.append(f"{len(why['records'])} records")
    return f"({'; '.join(parts)})" if why else "(as the model answers anybody)"


def _lines(user: str) -> "Iterator[str]":
    """What the user types, until an empty line, /exit or the end."""
    typed = sys.stdin.isatty()
    if typed:
        note("Type a message; an empty line, /exit or Ctrl-D ends.")
    while True:
        if typed:
            typer.secho(f"{user}> ", bold=True, nl=False, err=True)
        line = sys.stdin.readline()
        said = line.strip()
        if not line or said == "/exit" or (typed and not said):
            return
        if said:
            yield said
