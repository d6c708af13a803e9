"""The words of the catalogue: who owns a case, how pressing it is, what resolves it, and why a document is given up;
and what a row of it says."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from q2c.core.approvals import OVERRIDE
from q2c.core.problems import Category

SALES_OPS, BILLING_OPS, CONTROLLERSHIP, PLATFORM = "sales_ops", "billing_ops", "controllership", "platform"

# Severities, most pressing first; queues sort by them.
URGENT, HIGH, MEDIUM, LOW = 1, 2, 3, 4
SEVERITY_WORDS = {URGENT: "urgent", HIGH: "high", MEDIUM: "medium", LOW: "low"}

# Resolutions. `resolutions.py` has one function each; who may is decided there.
REPOST, REMAP_AND_REPOST, CORRECT_AT_SOURCE = "repost", "remap_and_repost", "correct_at_source"
LOOK_AGAIN, REPLAY_EVENT, RESUME_CONNECTION = "look_again", "replay_event", "resume_connection"
WAIVE, LINK = "waive", "link"
EDIT_FIELDS, EMERGENCY_EDIT = "edit_fields", "emergency_edit"
WRITE_OFF, ACCEPT_DIFFERENCE, APPLY_OPEN = "write_off", "accept_difference", "apply_open"
CHOOSE_PERIOD, REOPEN_PERIOD, ACCRUE = "choose_period", "reopen_period", "accrue"
SNOOZE, SEND_BACK = "snooze", "send_back"  # of any open case
BOOKED_BY_HAND = "booked_by_hand"
# Why a document may be given up: a closed list, so that what was waived can be counted by reason.
WAIVE_REASONS = {
    "bad_debt": "Bad debt, which isn’t revenue",
    BOOKED_BY_HAND: "Booked by hand in the ERP",
    "duplicate": "The same as another document",
    "withdrawn": "The customer withdrew",
    "not_ours": "Not ours to book",
    "test": "A test, not a sale",
    "with_its_run": "Its bill run was rejected",
    "looked_into": "Looked into: nothing is to be booked",
}
RESOLUTION_WORDS = {
    REPOST: "Repost",
    REMAP_AND_REPOST: "Map and repost",
    CORRECT_AT_SOURCE: "Correct at source",
    OVERRIDE: "Override with a second person",
    LOOK_AGAIN: "Look in the target again",
    REPLAY_EVENT: "Replay the event",
    RESUME_CONNECTION: "Resume the connection",
    WAIVE: "Waive",
    SNOOZE: "Snooze",
    SEND_BACK: "Send back",
    EDIT_FIELDS: "Edit the document",
    EMERGENCY_EDIT: "Edit in an emergency",
    LINK: "Link to a document of the target",
    WRITE_OFF: "Write off what is open",
    ACCEPT_DIFFERENCE: "Accept a difference",
    APPLY_OPEN: "Apply what is open",
    CHOOSE_PERIOD: "Another posting period",
    REOPEN_PERIOD: "Reopen the period",
    ACCRUE: "Accrue, and post in the next period",
}


@dataclass(frozen=True)
class Kind:
    """One kind of exception. `sla` is working time unless the owner is the platform team, whose clock never stops."""

    code: str
    category: Category
    owner: str
    severity: int
    sla: dt.timedelta
    same_when: tuple[str, ...]
    may: tuple[str, ...]
    says: str
    runbook: str
    follows_flow: bool = False  # what a vendor refuses belongs to whoever owns the flow

    @property
    def title(self) -> str:
        """The code as words."""
        return self.code.replace("_", " ").capitalize()


def hours(count: float) -> dt.timedelta:
    """So many hours."""
    return dt.timedelta(hours=count)
