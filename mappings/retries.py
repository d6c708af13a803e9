"""Which retry policy holds for a vendor's error: rules of kind `retry_policy`, all of them in memory.

Read with one statement when a change set has come, not for a batch nor for a document: the wire's event loop may not
ask the database.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from connectors import registry
from connectors.manifest import When
from mappings.kinds import RETRY_POLICY
from mappings.known import KnownRule, rules_of_kind
from q2c.core.problems import CREDENTIALS_REFUSED, HEALS_BY_ITSELF, Category, Problem
from q2c.core.retries import DEFAULT, NEVER, Retry, read_retry

UNANSWERED, ANY = "system_unavailable", "*"  # our own code where no answer came; whatever waiting can mend
_BLANKS = re.compile(r"(?: in)?\s*\(?\{\w+\}\)?")


@dataclass(frozen=True)
class ErrorLine:
    """One error of a vendor as people are told of it. `error` is how a rule names it: its own code, the status where it
    names none, "" where only its wording tells it. `retry` is the policy in force; where waiting doesn't mend it there
    is none, and `instead` says what happens."""

    error: str
    says: str
    retry: Retry | None = None
    instead: str = ""
    is_by_status: bool = False


class Retries:
    """The policies known at one change set."""

    def __init__(self, change_set: int, rules: list[KnownRule], vendors: Mapping[str, str] | None = None) -> None:
        self.change_set = change_set
        self.vendors: Mapping[str, str] = vendors or {}  # by the connection's code
        self._rules = sorted(rules, key=lambda rule: (-rule.specificity, "*" in rule.key, rule.pk))
        self._found: dict[tuple[str, str, str, dt.date], Retry] = {}

    @classmethod
    def load(cls, change_set: int, vendors: Mapping[str, str] | None = None) -> Retries:
        """The policies as known at a change set, in one statement."""
        return cls(change_set, list(rules_of_kind(RETRY_POLICY, change_set)), vendors)

    @property
    def has_rules(self) -> bool:
        """Whether any rule says anything: else nobody needs to know the vendors."""
        return bool(self._rules)

    def policy(self, problem: Problem, connection: str) -> Retry:
        """The policy of this problem of that connection: of the vendor's own code of the error, else of ours."""
        connection = problem.subject.get("connection") or connection
        error = problem.subject.get("error") or problem.code
        question = (self.vendors.get(connection, ""), connection, error, dt.datetime.now(dt.UTC).date())
        found = self._found.get(question)
        if found is None:
            found = self._found[question] = self._find(*question)
        return found

    def _find(self, vendor: str, connection: str, error: str, today: dt.date) -> Retry:
        for rule in self._in_force(connection, today):
            if _holds(rule.key, vendor, error):
                return _read(rule.value, rule.pk)
        return DEFAULT

    def _in_force(self, connection: str, today: dt.date) -> Iterator[KnownRule]:
        for rule in self._rules:
            begins, ends = rule.effective_from, rule.effective_to
            if rule.connection_code in ("", connection) and begins <= today and (ends is None or today < ends):
                yield rule

    def lines(self, vendor: str, connection: str) -> list[ErrorLine]:
        """The errors of a vendor's table with the policy in force for each at a connection; what a rule names besides,
        what is unanswered and whatever else waiting mends; then what it doesn't mend."""
        today = dt.datetime.now(dt.UTC).date()
        told: dict[str, ErrorLine] = {}
        hopeless: dict[tuple[str, str], ErrorLine] = {}
        for row in registry.manifest(vendor).errors:
            error, says = _error_of(row), _BLANKS.sub("", row.says).rstrip(": ")
            by_status = bool(error) and not row.code
            if row.is_passing or row.category in HEALS_BY_ITSELF:
                retry = self._find(vendor, connection, error, today)
                told.setdefault(error or says, ErrorLine(error, says, retry, is_by_status=by_status))
            else:
                line = ErrorLine(error, says, instead=_instead(row), is_by_status=by_status)
                hopeless.setdefault((error, says), line)
        named = {rule.key.partition("|")[2] for rule in self._in_force(connection, today)
                 if _holds(rule.key.partition("|")[0], vendor)}  # fmt: skip
        for error in sorted(named - told.keys() - {UNANSWERED, ANY, ""}):
            told[error] = ErrorLine(error, "Named by a rule", self._find(vendor, connection, error, today))
        for error, says in ((UNANSWERED, "No answer came"), (ANY, "Whatever else waiting can mend")):
            told[error] = ErrorLine(error, says, self._find(vendor, connection, error, today))
        return [*told.values(), *hopeless.values()]


def _holds(key: str, *fields: str) -> bool:
    """Whether a rule's key names these: field by field, as the vendor's own table names its errors ("*/rate_limit")."""
    parts = key.split("|")
    if len(parts) != len(fields):
        return key == ANY
    return all(
        fnmatch.fnmatchcase(field, part) if "*" in part else field == part
        for part, field in zip(parts, fields, strict=True)
    )


def _error_of(row: When) -> str:
    """How a rule names the errors of a row of a vendor's table."""
    if row.code.strip("?*"):
        return row.code
    if isinstance(row.status, tuple):
        low, high = row.status
        return f"{low // 100}*" if (low % 100, high) == (0, low + 99) else f"{low} to {high}"
    return str(row.status or "")


def _instead(row: When) -> str:
    """What happens where waiting doesn't mend it."""
    if row.problem == CREDENTIALS_REFUSED:
        return "never: the connection is paused"
    if row.category is Category.UNKNOWN_OUTCOME:
        return "only after a look in the target"
    return "never: what is there is looked up" if row.is_existing else "never: waiting doesn’t mend it"


def _read(text: str, rule: int) -> Retry:
    try:
        return read_retry(text, rule)
    except ValueError:  # a rule of an earlier version that would be refused now
        return DEFAULT


def retry_faults(key: str, value: str) -> list[tuple[str, str]]:
    """Why a policy can't be, as field and words: a vendor that we have no connector of, waits out of order, or an error
    of which the vendor's own table says that waiting doesn't mend it."""
    faults = []
    vendor, _, error = key.partition("|")
    if not vendor.endswith("*"):
        if vendor not in registry.vendors():
            faults.append(("key", f"{vendor} isn't one of {', '.join(registry.vendors())}, nor *"))
        elif value != NEVER and not _may_heal(vendor, error):
            faults.append(("key", f"waiting doesn't mend {error} of {vendor}, so it is never tried again"))
    try:
        read_retry(value)
    except ValueError as fault:
        faults.append(("value", str(fault)))
    return faults


def _may_heal(vendor: str, error: str) -> bool:
    """Whether waiting can mend an error: what no row of the vendor's table names by its code may."""
    if error.endswith("*"):
        return True
    named = [row for row in registry.manifest(vendor).errors if row.code.strip("?*")]  # "?*" is any code of a status
    rows = [row for row in named if fnmatch.fnmatchcase(error, row.code)]
    return not rows or any(row.is_passing or row.category in HEALS_BY_ITSELF for row in rows)
