"""The addresses of /api/v1/, each with and without a slash at its end."""

from __future__ import annotations

from typing import Any

from django.urls import path, re_path
from drf_spectacular.views import SpectacularJSONAPIView

from q2c.api import bill_runs, problems, views

app_name = "api"


def _both(route: str, view: Any, name: str) -> list[Any]:
    return [path(route, view, name=name), path(f"{route}/", view, name=f"{name}_slash")]


urlpatterns = [
    *_both("orders", views.Orders.as_view(), "orders"),
    *_both("transactions/<uuid:transaction_id>", views.Transactions.as_view(), "transaction"),
    *_both("trace", views.Trace.as_view(), "trace"),
    *_both("cards", views.Cards.as_view(), "cards"),
    *_both("cases", views.Cases.as_view(), "cases"),
    *_both("cases/<str:case_id>", views.OneCase.as_view(), "case"),
    *_both("cases/<str:case_id>/repost", views.RepostCase.as_view(), "repost"),
    *_both("bill-runs", bill_runs.BillRuns.as_view(), "bill_runs"),
    *_both("bill-runs/<str:run_id>", bill_runs.OneBillRun.as_view(), "bill_run"),
    *_both("problems", problems.problem_types, "problem_types"),
    *_both("problems/<slug:code>", problems.problem_type, "problem_type"),
    path("schema/", SpectacularJSONAPIView.as_view(authentication_classes=[], permission_classes=[]), name="schema"),
    re_path(r"^(?P<path>(?s:.*))\Z", problems.no_such_address),
]
