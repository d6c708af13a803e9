"""The shapes of requests and answers, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from q2c.api.orders import FREQUENCIES, MOST_LINES, MOST_MONTHS
from q2c.transactions.bill_runs import BillRun as Run

RUN_STATES = Run.State.values


class Money(serializers.RegexField):
    """An amount as a string with a decimal point."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(regex=r"^-?\d{1,14}\.\d+$", **kwargs)


class OrderLine(serializers.Serializer):
    sku = serializers.CharField(max_length=120)
    quantity = serializers.RegexField(regex=r"^\d{1,14}(\.\d{1,6})?$")
    unit_price = serializers.RegexField(regex=r"^\d{1,14}(\.\d{1,6})?$")


class Order(serializers.Serializer):
    account = serializers.CharField(max_length=120)
    legal_entity = serializers.CharField(max_length=120)
    currency = serializers.RegexField(regex=r"^[A-Z]{3}$")
    start_date = serializers.DateField()
    term_months = serializers.IntegerField(min_value=1, max_value=MOST_MONTHS)
    billing_frequency = serializers.ChoiceField(choices=FREQUENCIES)
    lines = serializers.ListField(child=OrderLine(), min_length=1, max_length=MOST_LINES)


class Taken(serializers.Serializer):
    transaction = serializers.UUIDField()


class Step(serializers.Serializer):
    name = serializers.CharField()
    kind = serializers.CharField()
    state = serializers.CharField()
    attempt = serializers.IntegerField()
    at = serializers.DateTimeField()


class DocumentKey(serializers.Serializer):
    system = serializers.CharField()
    type = serializers.CharField()
    id = serializers.CharField(allow_null=True)


class Transaction(serializers.Serializer):
    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=["running", "waiting", "unknown", "held", "completed", "cancelled"])
    flow = serializers.CharField()
    number = serializers.CharField(allow_blank=True)
    amount = serializers.CharField(allow_null=True)
    currency = serializers.CharField(allow_blank=True)
    legal_entity = serializers.CharField(allow_blank=True)
    waits_for = serializers.CharField(allow_blank=True)
    problem = serializers.CharField(allow_blank=True)
    steps = Step(many=True)
    documents = DocumentKey(many=True)
    case = serializers.CharField(allow_null=True)


class TransactionRow(serializers.Serializer):
    id = serializers.UUIDField()
    flow = serializers.CharField()
    state = serializers.CharField()
    number = serializers.CharField(allow_blank=True)
    legal_entity = serializers.CharField(allow_blank=True)


class Link(serializers.Serializer):
    source = DocumentKey()  # type: ignore[assignment]  # a serializer's own attribute of that name isn't used
    target = DocumentKey()
    relation = serializers.CharField()
    amount = serializers.CharField(allow_null=True, required=False)
    currency = serializers.CharField(allow_blank=True, required=False)
    transaction = serializers.UUIDField(required=False)
    at = serializers.DateTimeField(required=False)


class Trace(serializers.Serializer):
    id = serializers.CharField()
    is_partial = serializers.BooleanField()
    transactions = TransactionRow(many=True)
    documents = DocumentKey(many=True)
    links = Link(many=True)


class Amount(serializers.Serializer):
    currency = serializers.CharField()
    amount = serializers.CharField()


class Occurrence(serializers.Serializer):
    transaction = serializers.UUIDField(allow_null=True)
    flow = serializers.CharField(allow_blank=True)
    step = serializers.CharField(allow_blank=True)
    number = serializers.CharField(allow_blank=True)
    legal_entity = serializers.CharField(allow_blank=True)
    amount = serializers.CharField(allow_null=True)
    currency = serializers.CharField(allow_blank=True)
    at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)


class Case(serializers.Serializer):
    id = serializers.CharField()
    kind = serializers.CharField()
    category = serializers.CharField()
    state = serializers.CharField()
    queue = serializers.CharField()
    severity = serializers.IntegerField()
    summary = serializers.CharField()
    legal_entity = serializers.CharField(allow_blank=True)
    opened_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)
    documents = serializers.IntegerField()
    amounts = Amount(many=True)


class Card(serializers.Serializer):
    number = serializers.CharField()
    document = serializers.CharField()
    state = serializers.CharField()
    amount = serializers.CharField(allow_null=True)
    currency = serializers.CharField(allow_blank=True)
    legal_entity = serializers.CharField(allow_blank=True)
    problem = serializers.CharField(allow_blank=True)
    owner = serializers.CharField(allow_blank=True)
    expected_at = serializers.DateTimeField(allow_null=True)
    posted_in = serializers.CharField(allow_blank=True)
    posted_as = serializers.CharField(allow_blank=True)


class Cards(serializers.Serializer):
    items = Card(many=True)


class CaseDetail(Case):
    occurrences = Occurrence(many=True)


class CaseList(serializers.Serializer):
    items = Case(many=True)
    next = serializers.CharField(allow_null=True)


class RunDocuments(serializers.Serializer):
    expected = serializers.IntegerField(allow_null=True)
    received = serializers.IntegerField()
    waiting = serializers.IntegerField()
    held = serializers.IntegerField()
    posted = serializers.IntegerField()
    given_up = serializers.IntegerField()


class RunPart(serializers.Serializer):
    document_type = serializers.CharField()
    currency = serializers.CharField(allow_blank=True)
    expected_count = serializers.IntegerField(allow_null=True)
    expected_amount = serializers.CharField(allow_null=True)
    received_count = serializers.IntegerField()
    received_amount = serializers.CharField()
    posted_count = serializers.IntegerField()
    posted_amount = serializers.CharField()
    held_count = serializers.IntegerField()
    held_amount = serializers.CharField()
    given_up_count = serializers.IntegerField()
    given_up_amount = serializers.CharField()
    waiting_count = serializers.IntegerField()
    waiting_amount = serializers.CharField()
    late_count = serializers.IntegerField()
    ignored_count = serializers.IntegerField()


class BillRun(serializers.Serializer):
    id = serializers.CharField()
    name = serializers.CharField()
    addition = serializers.IntegerField()
    connection = serializers.CharField()
    legal_entity = serializers.CharField()
    day = serializers.DateField()
    period = serializers.CharField(allow_blank=True)
    state = serializers.ChoiceField(choices=RUN_STATES)
    state_at = serializers.DateTimeField()
    holds = serializers.BooleanField()
    documents = RunDocuments()


class BillRunDetail(BillRun):
    reasons = serializers.ListField(child=serializers.CharField())
    decided_at = serializers.DateTimeField(allow_null=True)
    decided_why = serializers.CharField(allow_blank=True)
    parts = RunPart(many=True)


class BillRunList(serializers.Serializer):
    items = BillRun(many=True)
    next = serializers.CharField(allow_null=True)


class Repost(serializers.Serializer):
    why = serializers.CharField(max_length=500)


class Refused(serializers.Serializer):
    transaction = serializers.UUIDField()
    why = serializers.CharField()


class Reposted(serializers.Serializer):
    reposted = serializers.ListField(child=serializers.UUIDField())
    refused = Refused(many=True)


class FieldFault(serializers.Serializer):
    field = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    remedy = serializers.CharField()


class Problem(serializers.Serializer):
    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    code = serializers.CharField()
    correlation_id = serializers.CharField(allow_blank=True)
    errors = FieldFault(many=True, required=False)  # type: ignore[assignment]


IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, required=True,
    description="A repeat within 72 hours is answered as the first accepted one was. 1 to 255 printable characters.",
    examples=[OpenApiExample("a UUID", value="8e03978e-40d5-43e8-bc93-6894a57f9324")],
)  # fmt: skip
_WHAT = {
    400: "The request can't be read", 401: "No valid token", 403: "The token's scopes don't suffice",
    404: "There is no such thing, or the caller doesn't see it", 405: "Another method", 406: "Only JSON is given",
    409: "The first request with this key still runs", 413: "The body is too large",
    415: "Only JSON is taken", 422: "Fields that need repair",
}  # fmt: skip


def problems(*statuses: int) -> dict[Any, OpenApiResponse]:
    """The refusals of an operation."""
    return {
        (status, "application/problem+json"): OpenApiResponse(Problem, description=_WHAT[status])
        for status in sorted({*statuses, 401, 403, 406})
    }


def without_twins(endpoints: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Each address is served with and without a slash at its end; the document names it once."""
    return [endpoint for endpoint in endpoints if not endpoint[0].endswith("/") or endpoint[0].endswith("schema/")]
