"""The bundled tiny model, two sample histories and questions to try them with."""

from persona_align.demo.bundle import basis_folder, load, shipped_basis
from persona_align.demo.histories import sample_histories
from persona_align.demo.questions import QUESTION, QUESTIONS

__all__ = ["QUESTION", "QUESTIONS", "basis_folder", "load", "sample_histories", "shipped_basis"]
