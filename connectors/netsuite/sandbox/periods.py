"""Accounting periods: which one a document falls into, and whether it may still be posted to, by subsidiary and ledger.

Assumption of this sandbox: NetSuite keeps closing and locking on the period; here a subsidiary may differ from it,
and the row that says so is a record `accountingPeriodSubsidiary` (in SuiteQL the table of the same name shows the
effective state of each pair). A row of its own, when there is one, decides for its subsidiary; otherwise the period's
flags do.
"""

from datetime import date

from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.errors import OUTSIDE_PERIOD, user_error
from connectors.netsuite.sandbox.fields import RECORDS

FLAGS = ("closed", "arLocked", "apLocked", "allLocked")
LEDGERS = {"ar": ("closed", "arLocked", "allLocked"), "gl": ("closed", "allLocked")}


def find_period(books: Books, day: str) -> dict | None:
    """The monthly period that holds a day (YYYY-MM-DD)."""
    found = books.find_id("accountingPeriod", day[:7])
    return books.at("accountingPeriod", found[1]) if found else None


def read_status(books: Books, period: dict, subsidiary_id: str) -> dict[str, bool]:
    """The flags that count for a subsidiary."""
    own = books.get("accountingPeriodSubsidiary", f"{period['id']}-{subsidiary_id}")
    source = own or period
    return {flag: bool(source.get(flag)) for flag in FLAGS}


def is_open(books: Books, period: dict, subsidiary_id: str, ledger: str) -> bool:
    """Whether the integration may post to it: closed stops everybody, a lock everybody without the permission."""
    status = read_status(books, period, subsidiary_id)
    if status["closed"]:
        return False
    if books.preferences["may_override_periods"]:
        return True
    return not any(status[flag] for flag in LEDGERS[ledger])


def choose_period(books: Books, day: str, asked: dict | None, subsidiary_id: str, ledger: str) -> dict:
    """The period that a document is posted to: the one asked for, else its date's; the next open one by preference.

    Refuses a closed or locked one with the sentence that integrations know, and what isn't a monthly period.
    """
    period = books.at("accountingPeriod", asked["id"]) if asked else find_period(books, day)
    if period is None or not period.get("isPosting") or period.get("isQuarter") or period.get("isYear"):
        raise user_error(OUTSIDE_PERIOD, path="postingPeriod" if asked else "tranDate")
    inside = period["startDate"] <= day <= period["endDate"]
    if not inside and not books.preferences["date_outside_period"]:
        raise user_error(OUTSIDE_PERIOD, path="tranDate")
    if is_open(books, period, subsidiary_id, ledger):
        return period
    if books.preferences["move_period"]:
        later = find_next_open(books, period, subsidiary_id, ledger)
        if later is not None:
            return later
    if asked is None or inside:
        raise user_error(OUTSIDE_PERIOD, path="tranDate")
    # assumed wording: the period was named, and the date isn't in it
    raise user_error(
        f"You cannot post to {period['periodName']} because the period is closed or locked.", path="postingPeriod"
    )


def find_next_open(books: Books, period: dict, subsidiary_id: str, ledger: str) -> dict | None:
    """The first open monthly period after one."""
    day = period["startDate"]
    while True:
        year, month = int(day[:4]), int(day[5:7])
        day = date(year + month // 12, month % 12 + 1, 1).isoformat()
        following = find_period(books, day)
        if following is None or is_open(books, following, subsidiary_id, ledger):
            return following


def name_period(books: Books, text: str) -> dict:
    """A period by id, month (2026-10), day or name (Oct 2026). Raises ValueError."""
    period = books.get("accountingPeriod", text) or find_period(books, text)
    if period is None:
        row = books.store.db.execute(
            "SELECT id FROM documents WHERE type='accountingPeriod'"
            " AND json_extract(CAST(body AS TEXT), '$.periodName')=?",
            (text,),
        ).fetchone()
        period = books.at("accountingPeriod", row[0]) if row else None
    if period is None:
        raise ValueError(f"no accounting period {text}")
    return period


def name_subsidiary(books: Books, text: str) -> dict:
    """A subsidiary by id or external id (GB01). Raises ValueError."""
    found = books.get("subsidiary", text) or books.find_at("subsidiary", f"eid:{text}")
    if found is None:
        raise ValueError(f"no subsidiary {text}")
    return found


def set_status(books: Books, period: dict, subsidiary: dict | None, flags: dict[str, bool]) -> None:
    """Close, lock or open a period for one subsidiary, or (None) for all of them."""
    if subsidiary is None:
        for row in books.store.find("accountingPeriodSubsidiary"):
            if row["accountingPeriod"]["id"] == period["id"]:
                books.remove(RECORDS["accountingPeriodSubsidiary"], row)
        changed = {**period, **flags, "lastModifiedDate": books.now()}
        books.put(RECORDS["accountingPeriod"], changed, period)
        return
    old = books.get("accountingPeriodSubsidiary", f"{period['id']}-{subsidiary['id']}")
    row = {
        "id": f"{period['id']}-{subsidiary['id']}",
        "accountingPeriod": {"id": period["id"], "refName": period["periodName"]},
        "subsidiary": {"id": subsidiary["id"], "refName": subsidiary["name"]},
        **read_status(books, period, subsidiary["id"]),
        **flags,
    }
    books.put(RECORDS["accountingPeriodSubsidiary"], row, old)
