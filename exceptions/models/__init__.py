"""The tables of the workbench: cases with their occurrences, tallies and notes; marks of what was brought to them."""

from exceptions.models.cases import CaseNote, CaseTally, ExceptionCase, Occurrence
from exceptions.models.routing import RoutingMark

__all__ = ["CaseNote", "CaseTally", "ExceptionCase", "Occurrence", "RoutingMark"]
