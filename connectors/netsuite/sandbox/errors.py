"""NetSuite's refusals: the error envelope of REST, and the sentences that come in it.

Source: SuiteTalk REST help (error envelope, status codes) and the wordings that two public integrations recorded.
What is marked "assumed" wasn't found in a source and is this sandbox's own wording.
"""

from connectors.sandbox.request import Answer, Refusal

ERROR_TYPE = "application/vnd.oracle.resource+json; type=error; charset=UTF-8"
SECTIONS = {
    400: ("Bad Request", "15.5.1"),
    401: ("Unauthorized", "15.5.2"),
    403: ("Forbidden", "15.5.4"),
    404: ("Not Found", "15.5.5"),
    405: ("Method Not Allowed", "15.5.6"),
    429: ("Too Many Requests", "15.5"),
    500: ("Internal Server Error", "15.6.1"),
    502: ("Bad Gateway", "15.6.3"),
    503: ("Service Unavailable", "15.6.4"),
    504: ("Gateway Timeout", "15.6.5"),
}
PREFIX = "Error while accessing a resource. "
OUTSIDE_PERIOD = "The transaction date you specified is not within the date range of your accounting period."


def build_error(
    status: int,
    code: str,
    detail: str,
    *,
    path: str | None = None,
    parameter: str | None = None,
    header: str | None = None,
    title: str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """An answer with the envelope; `path` names the field, `parameter` or `header` what else is at fault."""
    found, section = SECTIONS.get(status, ("Error", "15"))
    entry = {"detail": detail, "o:errorCode": code}
    for name, value in (("o:errorPath", path), ("o:errorQueryParam", parameter), ("o:errorHeader", header)):
        if value is not None:
            entry[name] = value
    body = {
        "type": f"https://www.rfc-editor.org/rfc/rfc9110.html#section-{section}",
        "title": title or found,
        "status": status,
        "o:errorDetails": [entry],
    }
    return Answer(status, body, {"Content-Type": ERROR_TYPE, **(headers or {})})


def user_error(detail: str, *, path: str | None = None) -> Refusal:
    """400 USER_ERROR: the generic refusal of NetSuite's business rules; only its text says which."""
    return Refusal(build_error(400, "USER_ERROR", PREFIX + detail, path=path))


def invalid_content(detail: str, *, path: str | None = None) -> Refusal:
    """400 INVALID_CONTENT: the body doesn't fit the record's schema, or names something that isn't there."""
    return Refusal(build_error(400, "INVALID_CONTENT", PREFIX + detail, path=path))


def invalid_value(value: object, field: str, *, path: str | None = None) -> Refusal:
    """400 INVALID_CONTENT for a reference or value that this account doesn't know."""
    return invalid_content(
        f"You have entered an Invalid Field Value {value} for the following field: {field}", path=path
    )


def missing_value(*labels: str, path: str | None = None) -> Refusal:
    """400 USER_ERROR for mandatory fields that are empty."""
    return user_error(f"Please enter value(s) for: {', '.join(labels)}", path=path)


def invalid_parameter(name: str, detail: str) -> Refusal:
    """400 INVALID_PARAMETER for the query string."""
    return Refusal(build_error(400, "INVALID_PARAMETER", detail, parameter=name))


def not_there(detail: str = "The record instance does not exist. Provide a valid record instance ID.") -> Refusal:
    """404 NONEXISTENT_ID: no such record at that address."""
    return Refusal(build_error(404, "NONEXISTENT_ID", PREFIX + detail))


def unknown_reference(external_id: str, path: str) -> Refusal:
    """404 NONEXISTENT_ID with a path into the body: an external id in it names nothing."""
    detail = f"The record instance referenced by external ID '{external_id}' does not exist."
    return Refusal(build_error(404, "NONEXISTENT_ID", PREFIX + detail, path=path))


def no_permission(what: str) -> Refusal:
    """403 INSUFFICIENT_PERMISSION: the integration's role may not do this."""
    detail = f"Permission Violation: your current role does not have permission to {what}."
    return Refusal(build_error(403, "INSUFFICIENT_PERMISSION", detail))
