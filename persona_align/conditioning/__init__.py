"""Alignment by prompt: records or a vector into messages."""

from persona_align.conditioning.ica import ica, ica_line
from persona_align.conditioning.layouts import LAYOUT_VERSION
from persona_align.conditioning.messages import message_text, new_human_messages
from persona_align.conditioning.pba import pba, pba_line, usable_readings

__all__ = [
    "LAYOUT_VERSION",
    "ica",
    "ica_line",
    "message_text",
    "new_human_messages",
    "pba",
    "pba_line",
    "usable_readings",
]
