"""SuiteQL: one SELECT, checked and translated, run read-only over the views of the account.

Needs `Prefer: transient`; answers in pages of at most 1,000 rows of a result of at most 100,000; every value is a
string, nulls are left out of their row (general knowledge), column names are lower case.
"""

import re
import sqlite3
import time
from typing import Any

from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.errors import build_error, invalid_parameter
from connectors.netsuite.sandbox.fields import RECORDS, REFERENCES
from connectors.netsuite.sandbox.suiteql_functions import register_functions, show_value
from connectors.netsuite.sandbox.suiteql_ledger import LEDGER_VIEWS
from connectors.netsuite.sandbox.suiteql_tables import LIST_VIEWS
from connectors.sandbox.request import Answer, Refusal, Request

LARGEST_PAGE = 1000
LARGEST_RESULT = 100_000
SECONDS = 15 * 60.0  # a synchronous request takes no longer, says the fact sheet
PATH = "/services/rest/query/v1/suiteql"
TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"[^"]*"|--[^\n]*|/\*.*?\*/|[A-Za-z_][A-Za-z_0-9$]*|\d+(?:\.\d+)?|\s+|<>|!=|<=|>=|\|\||.""",
    re.DOTALL,
)
FORBIDDEN = frozenset(
    {
        "insert",
        "update",
        "delete",
        "drop",
        "alter",
        "create",
        "attach",
        "detach",
        "pragma",
        "vacuum",
        "reindex",
        "analyze",
    }
)
ROWS = re.compile(r"\bFETCH\s+(?:FIRST|NEXT)\s+(\d+)\s+ROWS?\s+ONLY\b", re.IGNORECASE)
OFFSET = re.compile(r"\bOFFSET\s+(\d+)\s+ROWS?\b", re.IGNORECASE)
TOP = re.compile(r"^\s*SELECT\s+TOP\s+(\d+)\s", re.IGNORECASE)
DISPLAY = re.compile(r"\bBUILTIN\.DF\(\s*(?:\w+\.)?(\w+)\s*\)", re.IGNORECASE)
DISPLAY_OF = {"postingperiod": "accountingPeriod", "class": "classification", "entity": "customer", "terms": "term"}
STORED = ("documents", "ns_", "numbers", "settings", "keys", "log", "deliveries", "sqlite_")
READ_ACTIONS = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)


class Queries:
    """A read-only connection of its own to the account's file, with the views on it."""

    def __init__(self, books: Books):
        self.books = books
        self.opened: sqlite3.Connection | None = None
        self.deadline = 0.0

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, opened when it's first asked for: its views need the tables to be committed."""
        if self.opened is None:
            file = self.books.store.db.execute("PRAGMA database_list").fetchone()[2]
            db = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None, cached_statements=64)
            db.execute("PRAGMA temp_store=MEMORY")
            for statement in (*LIST_VIEWS, *LEDGER_VIEWS):
                db.execute(statement)
            register_functions(db, now=self.books.clock.now, name_of=self._name_of)
            db.set_authorizer(_authorize)
            db.set_progress_handler(lambda: time.monotonic() > self.deadline, 100_000)
            self.opened = db
        return self.opened

    def answer(self, request: Request, base_url: str) -> Answer:
        """The page that a request asks for; refuses what isn't a statement that can be run."""
        prefer = request.headers.get("Prefer", "")
        if "transient" not in [part.strip().lower() for part in prefer.split(",")]:
            detail = "Invalid or missing header. The request must contain the header 'Prefer: transient'."
            return build_error(400, "INVALID_HEADER", detail, header="Prefer")
        limit = read_number(request, "limit", LARGEST_PAGE, at_least=1, at_most=LARGEST_PAGE)
        offset = read_number(request, "offset", 0, at_least=0, at_most=LARGEST_RESULT)
        if offset % limit:
            raise invalid_parameter(
                "offset", "Invalid value for the query parameter 'offset': not divisible by 'limit'."
            )
        try:
            given = request.json()
        except ValueError:
            given = None
        if not isinstance(given, dict) or not isinstance(given.get("q"), str) or not given["q"].strip():
            raise _refuse("The request body must contain the property 'q'.")
        columns, rows, total = self.run(given["q"], given.get("params") or [], limit=limit, offset=offset)
        items = [
            {
                "links": [],
                **{name: show_value(value) for name, value in zip(columns, row, strict=True) if value is not None},
            }
            for row in rows
        ]
        return Answer(200, build_page(base_url + PATH, items, limit=limit, offset=offset, total=total))

    def run(self, text: str, params: list[Any], *, limit: int, offset: int) -> tuple[list[str], list[tuple], int]:
        """Column names, the rows of the page and the number of all rows."""
        statement = translate(text)
        if not isinstance(params, list):
            raise _refuse("The property 'params' must be an array.")
        self.deadline = time.monotonic() + SECONDS
        try:
            cursor = self.db.execute(statement, params)
            columns = [column[0].lower() for column in cursor.description]
            rows, total = [], 0
            for row in cursor:
                if offset <= total < offset + limit:
                    rows.append(row)
                total += 1
                if total >= LARGEST_RESULT:
                    cursor.close()
                    break
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise _refuse(f"Invalid search query. Detailed unprocessed description follows. {error}.") from error
        return columns, rows, total

    def _name_of(self, column: str, id: Any) -> str | None:
        """BUILTIN.DF: the name of what a reference column points to."""
        kind = DISPLAY_OF.get(column.lower(), column.lower())
        if id is None or (kind not in RECORDS and kind not in REFERENCES):
            return None if id is None else str(id)
        for type in REFERENCES.get(kind, (kind,)):
            found = self.books.get(type, str(id))
            if found is not None:
                return self.books.name_of(RECORDS[type], found)
        return None


def translate(text: str) -> str:
    """Oracle's SQL as far as SuiteQL programs use it, as SQLite's. Refuses what isn't one SELECT over known tables."""
    text = text.strip().rstrip(";")
    limits = []
    for pattern, kind in ((ROWS, "LIMIT"), (OFFSET, "OFFSET"), (TOP, "LIMIT")):
        match = pattern.search(text)
        if match is not None:
            limits.append((kind, match.group(1)))
            text = TOP.sub("SELECT ", text) if pattern is TOP else text[: match.start()] + text[match.end() :]
    text = DISPLAY.sub(lambda match: f"builtin_df('{match.group(1)}', {match.group(0)[11:-1]})", text)
    pieces = []
    for token in TOKEN.findall(text):
        lower = token.lower()
        if token.startswith(("--", "/*")) or token == ";":
            if token == ";":
                raise _refuse("Invalid search query: only one statement is allowed.")
            continue
        if lower in FORBIDDEN:
            raise _refuse(f"Invalid search query: {token} is not supported.")
        if lower in {"transaction", "class"}:
            token = f'"{lower}"'
        elif lower in {"sysdate", "current_date"}:
            token = "sysdate()"
        elif lower in {"unique"}:
            token = "DISTINCT"
        pieces.append(token)
    statement = "".join(pieces).strip()
    if not re.match(r"(SELECT|WITH)\b", statement, re.IGNORECASE):
        raise _refuse("Invalid search query: only SELECT is supported.")
    if any(kind == "OFFSET" for kind, _ in limits) and not any(kind == "LIMIT" for kind, _ in limits):
        limits.append(("LIMIT", "-1"))
    return " ".join([statement, *(f"{kind} {number}" for kind, number in sorted(limits))])


def read_number(request: Request, name: str, default: int, *, at_least: int, at_most: int) -> int:
    """A whole number out of the query string; refuses what lies outside the bounds."""
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isdigit() or not at_least <= int(text) <= at_most:
        raise invalid_parameter(name, f"Invalid value for the query parameter '{name}'. Provide a valid value.")
    return int(text)


def build_page(url: str, items: list[dict], *, limit: int, offset: int, total: int) -> dict:
    """The envelope of all collections."""
    more = offset + len(items) < total
    places = {"self": offset}
    if more:
        places |= {"next": offset + limit, "last": (total - 1) // limit * limit}
    if offset:
        places |= {"first": 0, "previous": max(0, offset - limit)}
    links = [{"rel": rel, "href": f"{url}?limit={limit}&offset={place}"} for rel, place in places.items()]
    return {
        "links": links,
        "count": len(items),
        "hasMore": more,
        "items": items,
        "offset": offset,
        "totalResults": total,
    }


def _authorize(action: int, first: str | None, column: str | None, _: str | None, view: str | None) -> int:
    """Reading views only: a table of the store may be read through a view, never by its own name."""
    if action not in READ_ACTIONS:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_READ and view is None and column and first and first.lower().startswith(STORED):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _refuse(detail: str) -> Refusal:
    return Refusal(build_error(400, "INVALID_PARAMETER", detail))
