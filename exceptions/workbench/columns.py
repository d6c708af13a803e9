"""Own columns of the queue: a form of places, and an address that says what was chosen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, QueryDict

from connectors.models import Connection
from exceptions import kind_words, kinds
from exceptions.case_columns import CHOSEN, COLUMNS, MOST, PARAM, columns_asked, columns_said
from exceptions.models import ExceptionCase
from q2c.core.filters import others_of


def column_facts(request: HttpRequest, cases: Iterable[ExceptionCase]) -> dict[str, Any]:
    """The columns that the address asks for, what only they need of each case, and the form's places."""
    columns = columns_asked(request.GET.get(PARAM, ""))
    codes = [column.code for column in columns]
    for case in cases:
        case.kind_title = kinds.kind_of(case.kind).title  # type: ignore[attr-defined]
        case.severity_words = kind_words.SEVERITY_WORDS.get(case.severity, "").capitalize()  # type: ignore[attr-defined]
    return {
        "columns": columns,
        "column_places": [*codes, *[""] * (MOST - len(codes))],
        "column_choices": COLUMNS,
        "column_others": others_of(request.GET, without=(PARAM, CHOSEN)),
        "names": dict(Connection.objects.values_list("code", "name")) if "system" in codes else {},
    }


def columns_address(given: QueryDict) -> str:
    """The list's address for what the form chose: one word for all columns, and the filters as they were."""
    query = given.copy()
    chosen = query.pop(CHOSEN, [])
    query.pop(PARAM, None)
    if said := columns_said(str(code) for code in chosen):
        query[PARAM] = said
    return f"?{query.urlencode()}"
