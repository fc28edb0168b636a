"""AlignX's cases: a user's comments, comparisons and description, and one comparison held back to test on.

Read are `User-Generated Content`, `Pair-wise Comparative Feedback` and `Demographic Information`. The case's own
prompt, chosen and rejected are the test, and its profile and persona are labels: neither is recorded. An object with
nothing but prompt, chosen and rejected, as preference datasets have them, is a comparison.
"""

from collections.abc import Iterator

from persona_align.formats.conversation import FileRecord, made
from persona_align.formats.node import Node
from persona_align.records import Comparison, Description, Turn

__all__ = ["is_message", "recognises", "records"]

_COMMENTS, _PAIRS, _ABOUT = "User-Generated Content", "Pair-wise Comparative Feedback", "Demographic Information"


def is_message(node: Node) -> bool:
    """Whether a value is one message: never, this format knows whole cases."""
    del node
    return False


def recognises(node: Node) -> bool:
    """Whether a value is a case in this format, or a bare comparison."""
    return is_case(node) or all(node.has(key) for key in ("prompt", "chosen", "rejected"))


def is_case(node: Node) -> bool:
    """Whether a value is a case: one person's history."""
    return any(node.has(key) for key in (_COMMENTS, _PAIRS, _ABOUT))


def records(node: Node) -> Iterator[FileRecord]:
    """The records of one case's history."""
    if not is_case(node):
        yield _pair(node)
        return
    about = node.get(_ABOUT)
    if about and about.text().strip():
        yield made(Description, about, text=about.text())
    for comment in _listed(node.get(_COMMENTS)):
        said = comment.need("comment")
        yield made(Turn, said, role="user", text=said.text())
    for pair in _listed(node.get(_PAIRS)):
        yield _pair(pair)


def _listed(node: Node | None) -> list[Node]:
    return node.elements() if node else []


def _pair(node: Node) -> Comparison:
    fields = {key: _reply(node.need(key)) for key in ("prompt", "chosen", "rejected")}
    return made(Comparison, node, **fields)


def _reply(node: Node) -> str:
    """A text, or the last message of a list of messages, as conversational preference datasets have it."""
    if isinstance(node.value, list) and node.value:
        return node.elements()[-1].need("content").text()
    return node.text()
