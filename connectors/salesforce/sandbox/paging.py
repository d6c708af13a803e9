"""Handlers of queries with their pages, and of what was changed or deleted in a window of time."""

from datetime import datetime, timedelta
from typing import Any

from connectors.salesforce.sandbox.errors import no_such_object, refusal
from connectors.salesforce.sandbox.ids import make_id
from connectors.salesforce.sandbox.query import Search
from connectors.salesforce.sandbox.schema import SObject
from connectors.salesforce.sandbox.soql import parse
from connectors.salesforce.sandbox.values import format_moment, parse_moment
from connectors.sandbox.request import Answer, Request

CURSORS = "QueryLocator"
LARGEST_PAGE, SMALLEST_PAGE = 2000, 200
CURSOR_SECONDS = 2 * 86400
MOST_IDS = 600_000
UPDATED_DAYS, DELETED_DAYS = 30, 15


class QueryHandlers:
    """The part of the org that answers queries and change requests."""

    store: Any
    clock: Any
    records: Any
    schema: Any

    def find_target(self, request: Request) -> SObject:
        """The object that the path names. Raises Refusal."""
        target = self.schema.find(request.params["object"])
        if target is None:
            raise no_such_object(request.params["object"])
        return target

    # queries

    def query(self, request: Request) -> Answer:
        """GET query?q=."""
        return self.run_query(request, with_deleted=False)

    def query_all(self, request: Request) -> Answer:
        """GET queryAll?q=: the recycle bin too."""
        return self.run_query(request, with_deleted=True)

    def run_query(self, request: Request, *, with_deleted: bool) -> Answer:
        """The first page."""
        text = request.query.get("q")
        if not text:
            raise refusal("MALFORMED_QUERY", "SOQL statements cannot be empty or null")
        search = Search(self.records, version=request.params["version"], with_deleted=with_deleted)
        query, target, rows = search.run(text)
        if query.is_count:
            return Answer(200, {"totalSize": len(rows), "done": True, "records": []})
        size = _page_size(request)
        if len(rows) <= size:
            shown = [search.show(query, target, row) for row in rows]
            return Answer(200, {"totalSize": len(rows), "done": True, "records": shown})
        id = make_id("01g", self.store.next_number("id:01g"))
        cursor = {
            "id": id, "text": text, "ids": [row["Id"] for row in rows], "size": size, "with_deleted": with_deleted,
            "created": self.clock.time(),
        }  # fmt: skip
        self.store.put(CURSORS, id, cursor)
        return self.show_page(request, cursor, 0, with_deleted)

    def query_more(self, request: Request) -> Answer:
        """GET query/{locator}-{offset}."""
        id, _, offset = request.params["locator"].partition("-")
        cursor = self.store.get(CURSORS, id)
        lost = cursor is None or cursor["created"] < self.clock.time() - CURSOR_SECONDS
        if lost or not offset.isdigit() or int(offset) >= len(cursor["ids"]):
            raise refusal("INVALID_QUERY_LOCATOR", "invalid query locator")
        return self.show_page(request, cursor, int(offset), cursor["with_deleted"])

    def show_page(self, request: Request, cursor: dict, offset: int, with_deleted: bool) -> Answer:
        """One page of a long result, with the address of the next."""
        search = Search(self.records, version=request.params["version"], with_deleted=with_deleted)
        query = parse(cursor["text"])
        target = search.find_object(query.source)
        end = offset + cursor["size"]
        rows = [self.records.peek(target.name, id) for id in cursor["ids"][offset:end]]
        shown = [search.show(query, target, row) for row in rows if row is not None]
        page: dict = {"totalSize": len(cursor["ids"]), "done": end >= len(cursor["ids"]), "records": shown}
        if not page["done"]:
            verb = "queryAll" if with_deleted else "query"
            page["nextRecordsUrl"] = f"/services/data/{request.params['version']}/{verb}/{cursor['id']}-{end}"
        return Answer(200, page)

    def forget_cursors(self) -> None:
        """Cursors live two days."""
        for cursor in self.store.find(CURSORS, until=self.clock.time() - CURSOR_SECONDS, limit=100):
            self.store.delete(CURSORS, cursor["id"])

    # changes

    def updated(self, request: Request) -> Answer:
        """GET sobjects/{object}/updated?start=&end=: ids by SystemModstamp."""
        target = self.find_target(request)
        start, end = self.read_window(request, UPDATED_DAYS)
        rows = self.store.find(target.name, since=int(start.timestamp()))
        low, high = format_moment(start.timestamp()), format_moment(end.timestamp())
        ids = [row["Id"] for row in rows if not row["IsDeleted"] and low <= row["SystemModstamp"] < high]
        if len(ids) > MOST_IDS:
            raise refusal("EXCEEDED_ID_LIMIT", "exceeded the limit of ids")
        return Answer(200, {"ids": ids, "latestDateCovered": self.covered(end)})

    def deleted(self, request: Request) -> Answer:
        """GET sobjects/{object}/deleted?start=&end=."""
        target = self.find_target(request)
        start, end = self.read_window(request, DELETED_DAYS)
        low, high = format_moment(start.timestamp()), format_moment(end.timestamp())
        rows = self.store.find(target.name, since=int(start.timestamp()))
        gone = [row for row in rows if row["IsDeleted"] and low <= row["SystemModstamp"] < high]
        earliest = self.clock.now() - timedelta(days=DELETED_DAYS)
        return Answer(
            200,
            {
                "deletedRecords": [{"id": row["Id"], "deletedDate": row["SystemModstamp"]} for row in gone],
                "earliestDateAvailable": format_moment(earliest.timestamp()),
                "latestDateCovered": self.covered(end),
            },
        )

    def read_window(self, request: Request, days: int) -> tuple[datetime, datetime]:
        """start and end of a change request. Raises Refusal for a window that can't be answered."""
        found = []
        for name in ("start", "end"):
            moment = parse_moment(request.query.get(name, "").replace(" ", "+"))
            if moment is None:
                raise refusal("INVALID_REPLICATION_DATE", f"{name}: an ISO 8601 date and time is expected")
            found.append(moment)
        start, end = found
        if start < self.clock.now() - timedelta(days=days):
            raise refusal("INVALID_REPLICATION_DATE", f"startDate must be within the last {days} days")
        if end - start < timedelta(minutes=1):
            raise refusal("INVALID_REPLICATION_DATE", "endDate must be at least one minute after startDate")
        return start, end

    def covered(self, end: datetime) -> str:
        """Up to when a change request has seen everything."""
        return format_moment(min(end.timestamp(), self.clock.time()))


def _page_size(request: Request) -> int:
    for part in request.headers.get("Sforce-Query-Options", "").split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "batchsize" and value.strip().isdigit():
            return min(LARGEST_PAGE, max(SMALLEST_PAGE, int(value)))
    return LARGEST_PAGE
