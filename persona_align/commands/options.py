"""Options that several commands share, so that they read the same everywhere."""

from typing import Annotated, Literal

import typer

__all__ = [
    "DEFAULT_STORE",
    "AsJson",
    "DimensionKey",
    "Encoder",
    "FormatName",
    "Mode",
    "Model",
    "Store",
    "Strength",
    "User",
    "Yes",
]

DEFAULT_STORE = "persona-align-memory"
"""A folder in the current directory; not a hidden one, since it holds what is known of people."""

FormatName = Literal["auto", "openai", "sharegpt", "langchain", "chatgpt-export", "alignx", "prefeval", "records"]
Mode = Literal["auto", "ica", "pba", "pas", "rerank", "off"]


def _dimensions(incomplete: str) -> list[tuple[str, str]]:
    """For the shell: the keys that begin so, with what their poles are called."""
    from persona_align.preferences import ALIGNX

    return [(each.key, f"{each.low} … {each.high}") for each in ALIGNX if each.key.startswith(incomplete)]


DimensionKey = Annotated[
    str,
    typer.Argument(
        metavar="DIMENSION", help="A key as `show` prints it, for instance conciseness.", autocompletion=_dimensions
    ),
]
Store = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="PERSONA_ALIGN_STORE",
        metavar="PATH",
        help="Where memory is kept: a folder, or http://host:port of a Chroma server.",
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        envvar="PERSONA_ALIGN_ENCODER",
        metavar="NAME",
        help="A sentence-transformers name or path; without it, the bundled all-MiniLM-L6-v2.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]
User = Annotated[str, typer.Argument(metavar="USER", help="Whose memory: any id, for instance ada.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="A Hugging Face causal language model, by name or folder; without it, the bundled tiny one.",
        show_default=False,
    ),
]
Strength = Annotated[
    float, typer.Option("--strength", min=0.0, help="Of steering, in multiples of its calibrated default; 0 is off.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]
