"""The same cases in Django admin's changelist: what a team would look at without a workbench.

The URLconf of the bench while it asks for it; the columns and filters are those of the workbench's list, registered as
Django's documentation shows.
"""

from __future__ import annotations

import time

from django.contrib import admin
from django.test import Client, override_settings
from django.urls import URLResolver, path

from exceptions.models import ExceptionCase
from q2c import urls
from q2c.core.models import Person

LOOKS = 3
PAGE_SIZE = 50
ADDRESS = "/admin/exceptions/exceptioncase/"
THREE_FILTERS = "category=mapping&severity=1&blocks_entity=DE01"


class CaseAdmin(admin.ModelAdmin):
    """The columns and three filters of the workbench's list, the largest amounts first."""

    list_display = (
        "id", "summary", "kind", "state", "severity", "queue", "blocks_entity", "blocks_period", "amount_at_risk",
        "document_count", "due_at", "assignee",
    )  # fmt: skip
    list_filter = ("category", "severity", "blocks_entity")
    list_select_related = ("assignee",)
    list_per_page = PAGE_SIZE
    ordering = ("-amount_at_risk", "-id")


site = admin.AdminSite(name="admin")
site.register(ExceptionCase, CaseAdmin)
urlpatterns = [
    path("admin/", site.urls),
    *(p for p in urls.urlpatterns if not (isinstance(p, URLResolver) and p.namespace == "admin")),
]


def look_at_changelist(queries: list[str]) -> list[float]:
    """Milliseconds of each look at these pages of the changelist. Raises RuntimeError when one isn't shown."""
    person, _ = Person.objects.get_or_create(username="bench-admin", is_staff=True, is_superuser=True)
    took = []
    with override_settings(ROOT_URLCONF=__name__):
        client = Client(headers={"host": "localhost"})
        client.force_login(person)
        for query in queries:
            for look in range(LOOKS + 1):
                began = time.perf_counter()
                answer = client.get(f"{ADDRESS}?{query}")
                if answer.status_code != 200:
                    raise RuntimeError(f"{ADDRESS}?{query} answered {answer.status_code}")
                if look:  # the first one warms
                    took.append((time.perf_counter() - began) * 1000)
    return took
