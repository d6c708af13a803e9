"""Which role may do what: a table, printed to the docs and tested; people compose further ones (`memberships`). Rows a
person may see are another question (`access`)."""

from __future__ import annotations

from dataclasses import dataclass

VIEW = frozenset(
    {
        "portal.view_home",
        "portal.view_self",
        "portal.view_card",
        "transactions.view_transaction",
        "transactions.view_exchange",
        "inbox.view_event",
        "exceptions.view_case",
        "mappings.view_rule",
        "connectors.view_connection",
        "core.view_audit",
        "core.view_decision",
    }
)

# What everybody who works a queue may do there.
WORK = frozenset({"exceptions.work_case", "exceptions.edit_runbook"})

PERMISSION_WORDS = {
    "portal.view_home": "See the home page",
    "portal.view_self": "See your own page",
    "portal.view_card": "See where a document stands",
    "portal.view_report": "See the flash, the cut-off list and what is ignored",
    "portal.view_operations": "See how the portal runs",
    "transactions.view_transaction": "See transactions and their lineage",
    "transactions.view_exchange": "See requests and answers",
    "transactions.repost": "Repost what is held",
    "transactions.approve_posting": "Approve a posting",
    "transactions.pause_work": "Pause and resume work",
    "transactions.release_run": "Release, hold or reject a bill run",
    "inbox.view_event": "See messages",
    "inbox.replay_event": "Replay a message",
    "inbox.run_backfill": "Run a back-fill",
    "exceptions.view_case": "See cases",
    "exceptions.work_case": "Work on a case",
    "exceptions.waive_case": "Waive a case",
    "exceptions.manage_alerts": "Keep the channels of alerts",
    "exceptions.approve_resolution": "Agree to a resolution",
    "exceptions.edit_runbook": "Change a runbook",
    "mappings.view_rule": "See rules",
    "mappings.propose_rule": "Propose a rule",
    "mappings.propose_policy": "Propose a policy",
    "mappings.propose_running": "Propose how the machine runs",
    "mappings.approve_rule": "Approve a rule",
    "mappings.approve_policy": "Approve a policy",
    "connectors.view_connection": "See connections",
    "connectors.work_connection": "Run connections",
    "connectors.approve_connection": "Approve another address",
    "core.view_audit": "See the audit trail",
    "core.view_decision": "See decisions",
    "core.approve_emergency": "Approve in an emergency",
    "core.review_emergency": "Review an emergency",
    "core.view_access": "See who may do what",
    "core.manage_access": "Give and take roles",
    "core.approve_access": "Approve roles",
    "core.reveal_masked": "Show masked values",
    "core.view_keeping": "See what is kept how long",
    "core.propose_keeping": "Propose legal holds and erasures",
    "core.approve_keeping": "Agree to legal holds and erasures",
    "schedules.change_schedule": "Change schedules",
}


# What a permission is about, by the first part of its name, in the order of the screens.
OBJECTS = {
    "portal": "Everyday pages",
    "exceptions": "Cases",
    "transactions": "Transactions",
    "inbox": "Messages",
    "mappings": "Mappings",
    "connectors": "Connections",
    "schedules": "Schedules",
    "core": "Control",
}
# Rights about cases: a role limited to some kinds of case holds them for these only.
OF_CASES = frozenset(
    {name for name in PERMISSION_WORDS if name.startswith("exceptions.") and name != "exceptions.manage_alerts"}
    | {"transactions.repost"}
)
# What lets a person see rows of a table with an entity's code.
SEEN_BY = {
    "exceptions.casefix": "exceptions.view_case",
    "exceptions.casetally": "exceptions.view_case",
    "exceptions.occurrence": "exceptions.view_case",
    "exceptions.waiver": "exceptions.view_case",
    "inbox.backfillitem": "inbox.view_event",
    "inbox.inboundkey": "inbox.view_event",
    "mappings.crossreference": "mappings.view_rule",
    "mappings.evidencedocument": "mappings.view_rule",
    "reconciliation.feedday": "transactions.view_transaction",
    "reconciliation.feeddocument": "transactions.view_transaction",
    "reconciliation.feedgap": "transactions.view_transaction",
    "records.billeddocument": "transactions.view_transaction",
    "records.duplicatepair": "mappings.view_rule",
    "records.goldenrecord": "mappings.view_rule",
    "transactions.billrun": "transactions.view_transaction",
    "transactions.businesstransaction": "transactions.view_transaction",
    "transactions.lineagelink": "transactions.view_transaction",
    "transactions.workitem": "transactions.view_transaction",
}


@dataclass(frozen=True)
class Role:
    """A role: its code, its title, the queues it works (none: it sees all of them), its permissions, and the kinds of
    case that it's limited to (none: all of them)."""

    code: str
    title: str
    queues: tuple[str, ...]
    may: frozenset[str]
    kinds: tuple[str, ...] = ()

    def holds(self, permission: str, kind: str = "") -> bool:
        """Whether it holds a permission, for this kind of case where the permission is about cases."""
        if permission not in self.may:
            return False
        return not self.kinds or permission not in OF_CASES or kind in self.kinds


ROLES = (
    Role(
        "sales_ops",
        "Sales and revenue operations",
        ("sales_ops",),
        VIEW | WORK | {"transactions.repost", "inbox.replay_event", "inbox.run_backfill"},
    ),
    Role(
        "billing_ops",
        "Billing operations",
        ("billing_ops", "controllership"),  # prepares what the controller then agrees to
        VIEW
        | WORK
        | {
            "exceptions.approve_resolution",
            "transactions.repost",
            "transactions.release_run",
            "inbox.replay_event",
            "inbox.run_backfill",
            "mappings.propose_rule",
        },
    ),
    Role(
        "mapping_admin",
        "Mapping administration",
        ("billing_ops",),
        VIEW
        | WORK
        | {
            "mappings.propose_rule",
            "mappings.propose_policy",
            "mappings.propose_running",
            "mappings.approve_rule",
        },
    ),
    Role(
        "controller",
        "Controllership",
        ("controllership", "billing_ops", "sales_ops"),
        VIEW
        | WORK
        | {
            "exceptions.waive_case",
            "exceptions.approve_resolution",
            "transactions.repost",
            "transactions.approve_posting",
            "transactions.release_run",
            "mappings.propose_rule",
            "mappings.propose_policy",
            "mappings.propose_running",
            "mappings.approve_rule",
            "mappings.approve_policy",
            "core.review_emergency",
            "portal.view_report",
            "portal.view_operations",
            "core.view_access",
            "core.approve_access",
            "core.reveal_masked",
            "core.view_keeping",
            "core.propose_keeping",
            "core.approve_keeping",
            "connectors.approve_connection",  # where the books are sent is finance's to agree to, beside the platform
        },
    ),
    Role(
        "platform",
        "Platform",
        ("platform",),
        VIEW
        | WORK
        | {
            "transactions.repost",
            "transactions.pause_work",
            "portal.view_operations",
            "inbox.replay_event",
            "inbox.run_backfill",
            "exceptions.manage_alerts",
            "mappings.propose_running",
            "connectors.work_connection",
            "connectors.approve_connection",
            "core.view_access",
            "core.manage_access",
            "core.approve_access",
            "core.reveal_masked",
            "core.view_keeping",
            "core.propose_keeping",
            "schedules.change_schedule",
        },
    ),
    Role(
        "auditor",
        "Audit",
        (),
        VIEW | {"portal.view_report", "portal.view_operations", "core.view_access", "core.view_keeping"},
    ),  # reads, scoped, until a date
    # Held by few, beside another role or alone: it signs in place of all that policy asks, for hours, and is reviewed.
    Role(
        "emergency",
        "Emergency approval",
        (),
        VIEW - {"exceptions.view_case", "core.view_audit"} | {"core.approve_emergency"},
    ),
    Role("customer_facing", "Customer-facing teams", (), frozenset({"portal.view_card", "portal.view_self"})),
)
BY_CODE = {role.code: role for role in ROLES}
QUEUES = tuple(sorted({queue for role in ROLES for queue in role.queues}))
