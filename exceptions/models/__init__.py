"""The tables of the workbench: cases with occurrences, tallies and notes; what fixed them; how they are routed."""

from exceptions.models.cases import CaseNote, CaseTally, ExceptionCase, Occurrence
from exceptions.models.fixes import CaseFix, FailedFix
from exceptions.models.routing import RoutingMark

__all__ = [
    "CaseFix",
    "CaseNote",
    "CaseTally",
    "ExceptionCase",
    "FailedFix",
    "Occurrence",
    "RoutingMark",
]
