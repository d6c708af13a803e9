"""`/_control/netsuite/account`: preferences of the account, and what its controller does (approve, close, open)."""

from typing import Any

from connectors.netsuite.sandbox.books import PREFERENCES, Books
from connectors.netsuite.sandbox.desk import SAVERS
from connectors.netsuite.sandbox.fields import RECORDS
from connectors.netsuite.sandbox.periods import name_period, name_subsidiary, set_status
from connectors.netsuite.sandbox.seed import CLOSED, OPEN
from connectors.netsuite.sandbox.transactions import APPROVAL_NAMES

LOCKED = {"ar": {"arLocked": True}, "ap": {"apLocked": True}, "all": {"allLocked": True}}


def change_account(books: Books, given: dict[str, Any]) -> dict[str, Any]:
    """Set preferences and do what else is asked; the preferences as they stand, and what was approved.

    `approve` and `reject`: ids, or "all". `close_period`, `open_period` and `lock_period`: `{"period", "subsidiary",
    "ledger", "allow_non_gl_changes"}`.
    """
    preferences = {name: value for name, value in given.items() if name in PREFERENCES}
    actions = {name: value for name, value in given.items() if name not in PREFERENCES}
    unknown = set(actions) - {"approve", "reject", "close_period", "open_period", "lock_period"}
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    books.set_preferences(preferences)
    done: dict[str, Any] = {}
    for name, value in actions.items():
        if name in {"approve", "reject"}:
            done[name] = [decide(books, id, "2" if name == "approve" else "3") for id in _pending(books, value)]
        else:
            change_period(books, name, value)
    return {**books.preferences, **done}


def change_period(books: Books, act: str, given: dict[str, Any]) -> None:
    """Close, open or lock a period (`period`: month, id or name) for one subsidiary (code or id) or for all; and say
    whether what it holds may still be changed without effect on the ledger."""
    if not isinstance(given, dict) or "period" not in given:
        raise ValueError('{"period", "subsidiary"} is expected')
    period = name_period(books, str(given["period"]))
    if "allow_non_gl_changes" in given:
        changed = {**period, "allowNonGLChanges": bool(given["allow_non_gl_changes"])}
        books.put(RECORDS["accountingPeriod"], changed, period)
        period = changed
    subsidiary = name_subsidiary(books, str(given["subsidiary"])) if given.get("subsidiary") else None
    flags = {"close_period": CLOSED, "open_period": OPEN}.get(act) or LOCKED[given.get("ledger", "ar")]
    set_status(books, period, subsidiary, flags)


def override_period(books: Books, given: dict[str, Any]) -> str:
    """Keep the flags of a period for one subsidiary, given as a record with both references; its id."""
    row = books.check_body(RECORDS["accountingPeriodSubsidiary"], given, strict=True)
    flags = {name: row.pop(name) for name in list(row) if isinstance(row[name], bool)}
    period = books.at("accountingPeriod", row["accountingPeriod"]["id"])
    subsidiary = books.at("subsidiary", row["subsidiary"]["id"])
    set_status(books, period, subsidiary, flags)
    return f"{period['id']}-{subsidiary['id']}"


def decide(books: Books, id: str, status: str) -> str:
    """Approve (2) or reject (3) a transaction; approved, it enters the ledger, in an open period."""
    row = books.store.db.execute("SELECT record FROM ns_transaction WHERE id=?", (int(id),)).fetchone()
    if row is None:
        raise ValueError(f"no transaction {id}")
    record = RECORDS[row[0]]
    old = books.at(record.name, id)
    obj = {**old, "approvalStatus": {"id": status, "refName": APPROVAL_NAMES[status]}, "lastModifiedDate": books.now()}
    before = dict(books.preferences)
    books.preferences |= {"approval": True, "may_approve": True}
    try:
        SAVERS[record.name](books, record, obj, old)
    finally:
        books.preferences = before
    books.store.log(
        "POST", "/_control/netsuite/account", record.name, id, external_id=obj.get("externalId"), effect="updated"
    )
    return id


def _pending(books: Books, wanted: Any) -> list[str]:
    if wanted == "all":
        rows = books.store.db.execute("SELECT id FROM ns_transaction WHERE approval='1' ORDER BY id")
        return [str(id) for (id,) in rows]
    if not isinstance(wanted, list):
        raise ValueError('a list of ids or "all" is expected')
    return [str(id) for id in wanted]
