"""Whether the Hugging Face hub answers, asked once and briefly before anything is loaded from it by name."""

import os
from pathlib import Path

__all__ = ["unreachable"]

_PATIENCE = 5.0
"""Seconds; the hub's own client would retry for most of a minute, and does so again for each file."""


def unreachable(name_or_path: str | os.PathLike[str]) -> bool:
    """Whether this names no folder and the hub does not answer either, so that only its local cache can help.

    Proxies, another endpoint and HF_HUB_OFFLINE are those of huggingface_hub; any answer at all counts as one.

    Example:
        >>> unreachable(".")
        False
    """
    if Path(name_or_path).exists():
        return False
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return True
    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception:  # whatever the client of the day raises; the cache is tried next, and that error is told
        return True
    return False
