"""As many lines as fit a token budget, best first."""

from collections.abc import Callable, Sequence

__all__ = ["CountTokens", "approximate_tokens", "fitting"]

CountTokens = Callable[[str], int]


def approximate_tokens(text: str) -> int:
    """A count on the safe side for common tokenizers: one token per three bytes of UTF-8.

    Example:
        >>> approximate_tokens("Hello, world")
        4
    """
    return -(-len(text.encode("utf-8", "replace")) // 3)


def fitting(lines: Sequence[str], render: Callable[[list[str]], str], budget: int, count: CountTokens) -> list[int]:
    """Which lines fit, taken best first; a line that does not fit is skipped and shorter ones still may.

    Args:
        lines: Lines, best first.
        render: Makes the block of some lines.
        budget: The most tokens that the block may have.
        count: Counts the tokens of a text.

    Returns:
        Positions in `lines`, ascending.
    """
    kept: list[int] = []
    for position in range(len(lines)):
        if count(render([lines[i] for i in (*kept, position)])) <= budget:
            kept.append(position)
    return kept
