"""One word, one tone and one outline per state, the same on every screen (DESIGN section 3). Pure."""

from __future__ import annotations

from typing import NamedTuple


class Look(NamedTuple):
    """How a state shows: its word, its tone (a class of app.css), its icon's name."""

    word: str
    tone: str
    icon: str


LOOKS: dict[str, dict[str, Look]] = {
    "transaction": {
        "running": Look("Running", "calm", "running"),
        "waiting": Look("Waiting", "calm", "waiting"),
        "unknown": Look("Outcome unknown", "unknown", "unknown"),
        "held": Look("Held", "act", "held"),
        "completed": Look("Completed", "done", "completed"),
        "cancelled": Look("Cancelled", "off", "cancelled"),
    },
    "case": {
        "open": Look("Open", "calm", "open"),
        "in_review": Look("In review", "calm", "review"),
        "awaiting_approval": Look("Awaiting approval", "decide", "awaiting"),
        "regressed": Look("Regressed", "act", "regressed"),
        "resolved": Look("Resolved", "done", "resolved"),
        "waived": Look("Waived", "off", "waived"),
        "snoozed": Look("Snoozed", "calm", "waiting"),
    },
    "alert": {
        "opened": Look("Running", "act", "risk"),
        "at_risk": Look("At risk", "act", "risk"),
        "breached": Look("Late", "late", "late"),
        "over": Look("Over", "done", "completed"),
    },
    "delivery": {
        "waiting": Look("Waiting", "calm", "waiting"),
        "sent": Look("Taken", "done", "completed"),
        "failed": Look("Given up", "act", "risk"),
        "dropped": Look("Not sent", "off", "cancelled"),
    },
    "step": {
        "done": Look("Done", "done", "completed"),
        "failed": Look("Came back", "act", "risk"),
        "superseded": Look("Superseded", "off", "cancelled"),
        "undone": Look("Undone", "off", "undo"),
        "held": Look("Held here", "act", "held"),
        "unknown": Look("Outcome unknown", "unknown", "unknown"),
        "waiting": Look("Waiting", "calm", "waiting"),
        "running": Look("Running", "calm", "running"),
        "next": Look("Not yet", "calm", "open"),
    },
    "approval": {
        "draft": Look("Draft", "calm", "review"),
        "proposed": Look("Proposed", "decide", "awaiting"),
        "approved": Look("Approved", "done", "sealed"),
        "rejected": Look("Rejected", "off", "rejected"),
        "withdrawn": Look("Withdrawn", "off", "cancelled"),
        "void": Look("Approval void", "act", "void"),
    },
    "emergency": {
        "running": Look("In force for now", "act", "clock"),
        "over": Look("Ended, not reviewed", "act", "risk"),
        "stays": Look("Stays in force", "done", "sealed"),
        "ending": Look("Reviewed, ends by itself", "calm", "clock"),
        "ended": Look("Ended", "off", "waived"),
        "objected": Look("Objected to, ended", "off", "rejected"),
    },
    "trial": {
        "posts": Look("Will post", "done", "resolved"),
        "waits": Look("Will wait", "calm", "waiting"),
        "held": Look("Stays held", "act", "risk"),
        "ends": Look("Ends without posting", "off", "cancelled"),
        "differs": Look("Comes out differently", "act", "risk"),
    },
    "bulk": {
        "draft": Look("Preview", "calm", "review"),
        "asked": Look("Awaiting approval", "decide", "awaiting"),
        "waiting": Look("Begins in a moment", "calm", "clock"),
        "running": Look("Running", "calm", "running"),
        "carrying": Look("On the way", "calm", "running"),
        "settled": Look("Done", "done", "completed"),
        "done": Look("Done", "done", "completed"),
        "undone": Look("Undone", "off", "undo"),
    },
    "bulk_item": {
        "pending": Look("Not yet", "calm", "open"),
        "done": Look("Done", "done", "completed"),
        "left": Look("Left as it was", "off", "cancelled"),
        "back": Look("Came back", "act", "risk"),
    },
    "backfill": {
        "gathering": Look("Gathering", "calm", "running"),
        "trying": Look("Dry run", "calm", "running"),
        "tried": Look("Dry run done", "calm", "review"),
        "asked": Look("Awaiting approval", "decide", "awaiting"),
        "running": Look("Running", "calm", "running"),
        "paused": Look("Paused", "act", "paused"),
        "done": Look("Done", "done", "completed"),
        "cancelled": Look("Cancelled", "off", "cancelled"),
        "failed": Look("Couldn’t be read", "act", "risk"),
    },
    "bill_run": {
        "gathering": Look("Gathering", "calm", "running"),
        "complete": Look("Waits for its release", "decide", "awaiting"),
        "held": Look("Held", "act", "held"),
        "posting": Look("Posting", "calm", "running"),
        "posted": Look("Posted", "done", "completed"),
        "rejected": Look("Rejected", "off", "rejected"),
    },
    "backfill_found": {
        "": Look("Not tried yet", "calm", "open"),
        "posts": Look("Will post", "done", "resolved"),
        "waits": Look("Will wait first", "calm", "waiting"),
        "held": Look("Would be held", "act", "risk"),
        "differs": Look("Differs", "act", "risk"),
        "known": Look("Here already", "off", "completed"),
        "nothing": Look("Leads to nothing", "off", "cancelled"),
        "refused": Look("Refused", "act", "rejected"),
    },
    "backfill_result": {
        "pending": Look("Not yet", "calm", "open"),
        "released": Look("With the intake", "calm", "running"),
        "carried": Look("Carried", "done", "resolved"),
        "known": Look("Was here already", "off", "completed"),
        "ignored": Look("Ignored", "off", "cancelled"),
        "refused": Look("Refused", "act", "held"),
        "left": Look("Left out", "off", "cancelled"),
    },
    "duplicate": {
        "suspected": Look("Suspected", "act", "risk"),
        "distinct": Look("Two records", "off", "waived"),
        "merged": Look("Merged", "done", "completed"),
    },
    "rule": {
        "active": Look("Active", "calm", ""),
        "future": Look("Starts later", "calm", "clock"),
        "retired": Look("Retired", "off", "waived"),
        "replaced": Look("Replaced", "off", "waived"),
    },
    "connection": {
        "healthy": Look("Healthy", "done", "up"),
        "untried": Look("Not used yet", "off", "open"),
        "slow": Look("Slow", "act", "risk"),
        "paused": Look("Paused", "act", "paused"),
        "partly": Look("Partly down", "late", "late"),
        "down": Look("Down", "late", "late"),
    },
    "verdict": {
        "received": Look("Received", "calm", "waiting"),
        "translated": Look("Translated", "done", "resolved"),
        "ignored": Look("Ignored", "off", "cancelled"),
        "refused": Look("Refused", "act", "held"),
    },
    "light": {
        "runs": Look("Runs", "done", "up"),
        "idle": Look("No traffic", "off", "open"),
        "holds": Look("Holds documents", "act", "held"),
        "unknown": Look("Outcomes unknown", "unknown", "unknown"),
        "paused": Look("Paused", "act", "paused"),
        "failing": Look("Failing", "late", "late"),
        "stuck": Look("Stuck", "late", "late"),
    },
    "level": {
        "kept": Look("Kept", "done", "resolved"),
        "quiet": Look("Nothing yet", "off", "open"),
        "burning": Look("Burning fast", "late", "late"),
        "spent": Look("Budget used up", "act", "risk"),
    },
    "process": {
        "lives": Look("Lives", "done", "up"),
        "gone": Look("Gone", "late", "late"),
        "ended": Look("Ended", "off", "cancelled"),
    },
    "flow": {
        "running": Look("Running", "calm", "running"),
        "paused": Look("Paused", "act", "paused"),
    },
    "hold": {
        "proposed": Look("Proposed", "decide", "awaiting"),
        "in_force": Look("In force", "act", "held"),
        "declined": Look("Declined", "off", "rejected"),
        "released": Look("Released", "off", "completed"),
    },
    "erasure": {
        "proposed": Look("Proposed", "decide", "awaiting"),
        "waiting": Look("Waits", "act", "held"),
        "done": Look("Erased", "done", "completed"),
        "declined": Look("Declined", "off", "rejected"),
    },
    "expired": {
        "due": Look("Due", "calm", "clock"),
        "kept": Look("Stays", "calm", "held"),
        "failed": Look("Couldn’t go", "late", "late"),
    },
    "archive": {
        "whole": Look("Whole", "done", "sealed"),
        "damaged": Look("Not whole", "late", "late"),
    },
    "schedule": {
        "on": Look("On", "calm", "running"),
        "off": Look("Off", "off", "waived"),
    },
}


def look(kind: str, state: str) -> Look:
    """How a state shows. An unlisted state shows its own name, calmly."""
    return LOOKS[kind].get(state) or Look(state.replace("_", " ").capitalize(), "calm", "open")
