"""Salesforce's way of refusing: a JSON array of errors, each with a code, a message and sometimes fields."""

from typing import Any

from connectors.sandbox.request import Answer, Refusal


def error_body(code: str, message: str, fields: list[str] | None = None, **more: Any) -> list[dict]:
    """The array with one error."""
    return [{"message": message, "errorCode": code, **({"fields": fields} if fields is not None else {}), **more}]


def refusal(code: str, message: str, *, status: int = 400, fields: list[str] | None = None, **more: Any) -> Refusal:
    """A refusal to be raised."""
    return Refusal(Answer(status, error_body(code, message, fields, **more)))


def no_such_object(name: str) -> Refusal:
    """A path names an object that the org lacks."""
    return refusal("NOT_FOUND", f"The requested resource does not exist: {name}", status=404)


def no_such_record() -> Refusal:
    """An id that never was."""
    return refusal("NOT_FOUND", "Provided external ID field does not exist or is not accessible: Id", status=404)


def deleted_record() -> Refusal:
    """The record is in the recycle bin."""
    return refusal("ENTITY_IS_DELETED", "entity is deleted", status=404)


def missing_fields(names: list[str]) -> Refusal:
    """Required fields are empty."""
    return refusal("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(names)}]", fields=names)


def integrity(message: str, *names: str) -> Refusal:
    """The values don't fit to each other."""
    return refusal("FIELD_INTEGRITY_EXCEPTION", f"field integrity exception: {message}", fields=list(names))


def as_collection_error(answer: Answer) -> dict:
    """The error of a refusal as the collections show it: `statusCode` in the place of `errorCode`."""
    body = answer.body if isinstance(answer.body, list) else error_body("UNKNOWN_EXCEPTION", str(answer.body))
    first = body[0]
    return {"statusCode": first["errorCode"], "message": first["message"], "fields": first.get("fields", [])}
