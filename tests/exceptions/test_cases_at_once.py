"""Several workers at once: one case per cause, exact tallies, no deadlock. Each thread has a connection of its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.db.models import Sum

from exceptions import cases
from exceptions.models import CaseTally, ExceptionCase, Occurrence
from tests.exceptions.problems import held, missing_item

pytestmark = pytest.mark.django_db(transaction=True)


def together(*jobs):
    """Run the jobs at the same instant, each on its own connection; their results in order."""
    gate = threading.Barrier(len(jobs))

    def run(job):
        try:
            gate.wait(60)
            return job()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [f.result(60) for f in [pool.submit(run, job) for job in jobs]]


def test_four_workers_open_the_same_causes_in_any_order_and_make_one_case_each():
    skus = [f"SKU-{n}" for n in range(20)]

    def work(worker: int):
        ids = {}
        for _ in range(5):
            order = skus if worker % 2 else skus[::-1]
            with transaction.atomic():
                rows = [held(missing_item(sku), worker=f"w{worker}") for sku in order]
                ids |= {
                    r.problem.subject["key"]: i for r, i in zip(rows, cases.open_for_steps(rows).values(), strict=True)
                }
        return ids

    together(*(lambda w=w: work(w) for w in range(4)))
    assert ExceptionCase.objects.count() == 20
    assert Occurrence.objects.filter(closed_at=None).count() == 400
    sums = CaseTally.objects.aggregate(n=Sum("document_count"), m=Sum("amount"))
    assert sums == {"n": 400, "m": Decimal(4000)}
    assert CaseTally.objects.values("case", "worker").distinct().count() == 80


def test_two_calls_in_one_transaction_cross_without_a_deadlock():
    def work(worker: str, first: str, second: str):
        for _ in range(10):
            with transaction.atomic():
                cases.open_for_steps([held(missing_item(first), worker=worker)])
                cases.open_for_steps([held(missing_item(second), worker=worker)])

    together(lambda: work("w1", "A", "B"), lambda: work("w2", "B", "A"))
    assert sorted(ExceptionCase.objects.values_list("summary", flat=True)) == [
        "NetSuite has no item for SKU A in GB01",
        "NetSuite has no item for SKU B in GB01",
    ]
    assert Occurrence.objects.count() == 40


def test_a_case_is_never_closed_under_a_document_that_is_just_joining_it():
    for _ in range(20):
        row, late = held(worker="w1"), held(worker="w2")
        cases.open_for_steps([row])

        def complete(row=row):
            with transaction.atomic():
                cases.close_for_transactions([row.transaction_id], "completed", worker="w1")

        def join(late=late):
            with transaction.atomic():
                cases.open_for_steps([late])

        together(complete, join)
        occurrence = Occurrence.objects.get(closed_at=None)
        assert occurrence.transaction_id == late.transaction_id
        assert ExceptionCase.objects.get(pk=occurrence.case_id).is_open
        assert CaseTally.objects.filter(case=occurrence.case_id).aggregate(n=Sum("document_count")) == {"n": 1}
        cases.close_for_transactions([late.transaction_id], "completed", worker="w2")
        assert ExceptionCase.objects.filter(closed_at=None).count() == 0
    assert ExceptionCase.objects.count() == 1


def test_two_workers_that_complete_the_last_two_documents_leave_no_empty_case_open():
    for _ in range(20):
        rows = [held(), held()]
        cases.open_for_steps(rows)
        together(*(lambda r=r: cases.close_for_transactions([r.transaction_id], "completed", worker="w") for r in rows))
        assert ExceptionCase.objects.filter(closed_at=None).count() == 0
