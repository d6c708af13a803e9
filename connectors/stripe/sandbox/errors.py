"""Stripe's error bodies: `{"error": {"type", "code", "message", "param", …}}` with their HTTP status."""

from typing import Any

from connectors.sandbox.request import Answer, Refusal

DOCUMENTATION = "https://stripe.com/docs/error-codes/"

# Refusals that come from the state of an object, after execution began: the idempotency store remembers them.
STATE_CODES = frozenset(
    {
        "invoice_not_editable",
        "status_transition_invalid",
        "charge_already_refunded",
        "charge_already_captured",
        "payment_intent_unexpected_state",
        "invoice_no_customer_line_items",
        "invalid_canceled_subscription_fields",
        "resource_already_exists",
    }
)


def build_error(status: int, message: str, *, kind: str = "invalid_request_error", **details: Any) -> Answer:
    """An answer in Stripe's form; `details` are code, param, decline_code and the like."""
    error = {"type": kind, "message": message, **{name: value for name, value in details.items() if value is not None}}
    if details.get("code"):
        error["doc_url"] = DOCUMENTATION + details["code"].replace("_", "-")
    return Answer(status, {"error": error})


def invalid(message: str, *, code: str | None = None, param: str | None = None, status: int = 400) -> Refusal:
    """A refused request, to be raised."""
    return Refusal(build_error(status, message, code=code, param=param))


def missing_param(param: str) -> Refusal:
    """A required parameter isn't there."""
    return invalid(f"Missing required param: {param}.", code="parameter_missing", param=param)


def unknown_param(param: str) -> Refusal:
    """A parameter that the endpoint doesn't know."""
    return invalid(f"Received unknown parameter: {param}", code="parameter_unknown", param=param)


def no_such(kind: str, id: str, *, param: str | None) -> Refusal:
    """404 for an id in the path (`param` is "id"), 400 for one in a parameter."""
    in_path = param in {None, "id"}
    return invalid(
        f"No such {kind.replace('_', ' ')}: '{id}'",
        code="resource_missing",
        param=param or "id",
        status=404 if in_path else 400,
    )
