"""Which retry policy holds for a vendor's error: rules of kind `retry_policy`, all of them in memory.

Read with one statement when a change set has come, not for a batch nor for a document: the wire's event loop may not
ask the database.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
from collections.abc import Mapping

from connectors import registry
from mappings import scope
from mappings.kinds import RETRY_POLICY
from mappings.known import KnownRule, rules_of_kind
from q2c.core.problems import HEALS_BY_ITSELF, Problem
from q2c.core.retries import DEFAULT, NEVER, Retry, read_retry


class Retries:
    """The policies known at one change set."""

    def __init__(self, change_set: int, rules: list[KnownRule], vendors: Mapping[str, str] | None = None) -> None:
        self.change_set = change_set
        self.vendors: Mapping[str, str] = vendors or {}  # by the connection's code
        self._rules = sorted(rules, key=lambda rule: (-rule.specificity, rule.pk))
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
        key = f"{vendor}|{error}"
        for rule in self._rules:
            if (
                (scope.matches(rule.key, key) if rule.is_pattern else rule.key == key)
                and rule.connection_code in ("", connection)
                and rule.effective_from <= today
                and (rule.effective_to is None or today < rule.effective_to)
            ):
                return _read(rule.value, rule.pk)
        return DEFAULT


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
