"""A vendor's answer becomes a Problem by the manifest's table: the first row that matches wins.

An answer in no row is never success. A 4xx with the vendor's own error envelope is a refusal nobody classified yet; one
without it (a proxy's page) and every 5xx leave a write's outcome unknown (law 4).
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.manifest import Manifest, When
from connectors.waits import wait_seconds
from q2c.core.problems import AlreadyThere, Category, NotAnswered, Problem
from q2c.core.wording import without_particulars


@dataclass(frozen=True)
class VendorError:
    """One error of a vendor's envelope, in its own words. `field` is the path or parameter it blames; `status` that of
    its part, where one answer of 200 carries several."""

    code: str = ""
    detail: str = ""
    field: str = ""
    status: int = 0


def oauth_error(answer: Mapping[str, Any]) -> VendorError:
    """The error of an OAuth 2.0 token endpoint (RFC 6749 section 5.2). Raises ValueError for another shape."""
    code = answer.get("error")
    if not isinstance(code, str):
        raise ValueError("no OAuth error")
    return VendorError(code, str(answer.get("error_description") or ""))


class Absent(Problem):
    """The vendor says that the record isn't there: a `find` returns None, a `read` lets it through."""

    def __init__(self, summary: str, **subject: Any) -> None:
        super().__init__("record_gone", Category.VALIDATION, summary, **subject)


_READ_BY_STATUS = frozenset({Category.AUTHENTICATION, Category.RATE_LIMIT, Category.AVAILABILITY})


def problem_from(
    manifest: Manifest, *, status: int, headers: Mapping[str, str], body: bytes, connection: str, is_write: bool
) -> Problem:
    """The Problem of an answer that isn't 2xx, or of a 2xx that hides a failure.

    Its subject's `wording` is the vendor's sentence without what is particular to one document: with it two errors of
    one code are told apart, and the same error of two documents isn't.
    """
    problem = _read_problem(manifest, status, headers, body, connection, is_write)
    kept = manifest.repeats.replay_header
    problem.is_replayed = bool(kept) and headers.get(kept, "").lower() == "true"
    return problem


def _read_problem(
    manifest: Manifest, status: int, headers: Mapping[str, str], body: bytes, connection: str, is_write: bool
) -> Problem:
    errors = _read_errors(manifest, status, headers, body)
    if errors and errors[0].status:
        status = errors[0].status
    row, error = _first_match(manifest.errors, status, errors)
    if row is None:
        return _unclassified(manifest, status, errors, body, connection, is_write)
    says = row.says.format_map(_Filled(detail=_quoted(error.detail), code=error.code, field=error.field, status=status))
    subject: dict[str, Any] = {
        "connection": connection,
        "error": error.code or str(status),
        "field": error.field or None,
        "status": status,
        "wording": without_particulars(error.detail) or None,
        **(_named_parts(row, error)),
    }
    if row.is_existing:
        return AlreadyThere(says, **subject)
    if row.is_absent:
        return Problem("target_gone", Category.MAPPING, says, **subject) if is_write else Absent(says, **subject)
    if row.category is Category.UNKNOWN_OUTCOME or (row.category is Category.AVAILABILITY and is_write):
        return NotAnswered(says, **subject)
    wait = wait_seconds(headers, dt.datetime.now(dt.UTC), wait_header=row.wait_header or "Retry-After")
    return Problem(
        row.problem,
        row.category,
        says,
        wait_seconds=wait,
        is_passing=row.is_passing,
        evidence={"errors": [vars(e) for e in errors]},
        **subject,
    )


def _read_errors(manifest: Manifest, status: int, headers: Mapping[str, str], body: bytes) -> list[VendorError]:
    if manifest.read_errors is None:
        return []
    try:
        return list(manifest.read_errors(status, headers, body))
    except (ValueError, TypeError, AttributeError, KeyError, IndexError):
        return []  # not the vendor's envelope: a proxy's page, a truncated body


def _first_match(rows: tuple[When, ...], status: int, errors: list[VendorError]) -> tuple[When | None, VendorError]:
    for row in rows:
        if not errors and row.category not in _READ_BY_STATUS:
            continue  # without the vendor's envelope it may be a proxy's page: no refusal that we could believe
        for error in errors or [VendorError()]:
            if _matches(row, status, error):
                return row, error
    return None, errors[0] if errors else VendorError()


def _matches(row: When, status: int, error: VendorError) -> bool:
    if row.status is not None:
        low, high = row.status if isinstance(row.status, tuple) else (row.status, row.status)
        if not low <= status <= high:
            return False
    if row.code and not fnmatch.fnmatchcase(error.code, row.code):
        return False
    return not row.detail or re.search(row.detail, error.detail, re.IGNORECASE) is not None


def _named_parts(row: When, error: VendorError) -> dict[str, str]:
    """What the row's pattern picks out of the vendor's sentence by name: the value that it refuses, for instance."""
    found = re.search(row.detail, error.detail, re.IGNORECASE) if row.detail else None
    return {k: v for k, v in found.groupdict().items() if v} if found else {}


def _unclassified(
    manifest: Manifest, status: int, errors: list[VendorError], body: bytes, connection: str, is_write: bool
) -> Problem:
    first = errors[0] if errors else VendorError()
    text = first.detail or first.code or body[:200].decode("utf-8", "replace").strip() or "no reason"
    subject: dict[str, Any] = {
        "connection": connection,
        "error": first.code or str(status),
        "field": first.field or None,
        "status": status,
        "wording": without_particulars(first.detail) or None,
    }
    if errors and 400 <= status < 500:
        return Problem("vendor_refused", Category.VALIDATION, f"{manifest.name} refused: {text}", **subject)
    says = f"{manifest.name} answered {status} with something we don't understand: {text[:200]}"
    if is_write:
        return NotAnswered(says, **subject)
    category, code = (
        (Category.VALIDATION, "vendor_refused") if status < 500 else (Category.AVAILABILITY, "system_unavailable")
    )
    return Problem(code, category, says, **subject)


def _quoted(detail: str) -> str:
    """A vendor's own words, told as such."""
    return f"“{detail.strip().rstrip('.')}”" if detail.strip() else ""


class _Filled(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return ""
