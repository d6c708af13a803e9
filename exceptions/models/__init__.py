"""The tables of the workbench: cases with their occurrences, tallies and notes."""

from exceptions.models.cases import CaseNote, CaseTally, ExceptionCase, Occurrence

__all__ = ["CaseNote", "CaseTally", "ExceptionCase", "Occurrence"]
