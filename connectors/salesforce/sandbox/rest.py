"""Handlers of the plain resources: sobjects, upsert, queries with their pages, describe, changes, limits."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
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
PUBLISHED = ("58.0", "59.0", "60.0", "61.0", "62.0", "63.0", "64.0", "65.0", "66.0", "67.0", "68.0")
DESCRIBED_SINCE = datetime(2026, 1, 1, tzinfo=UTC)  # the org's objects haven't changed since


class RestHandlers:
    """The part of the org that answers one record, one query or one description at a time."""

    store: Any
    clock: Any
    records: Any
    schema: Any
    login: Any
    base_url: str

    def token(self, request: Request) -> Answer:
        """POST /services/oauth2/token."""
        return self.login.answer_token(request)

    def revoke(self, request: Request) -> Answer:
        """POST /services/oauth2/revoke: the session is over."""
        known = self.login.revoke(str(request.form().get("token", "")))
        return (
            Answer(200)
            if known
            else Answer(400, {"error": "unsupported_token_type", "error_description": "invalid token"})
        )

    def user_info(self, request: Request) -> Answer:
        """Who is signed in, and to which org."""
        identity = self.login.identity
        names = {"user_id": "user_id", "organization_id": "organization_id", "preferred_username": "username"}
        return Answer(200, {key: identity[name] for key, name in names.items()} | {"active": True})

    def versions(self, request: Request) -> Answer:
        """The API's versions; v68.0 is Winter '27."""
        return Answer(
            200, [{"label": f"v{each}", "url": f"/services/data/v{each}", "version": each} for each in PUBLISHED]
        )

    def resources(self, request: Request) -> Answer:
        """What a version offers."""
        root = f"/services/data/{request.params['version']}"
        return Answer(
            200, {name: f"{root}/{name}" for name in ("sobjects", "query", "queryAll", "limits", "composite")}
        )

    def limits(self, request: Request) -> Answer:
        """Requests left today."""
        most, used = self.daily_requests(), self.used_requests()  # type: ignore[attr-defined]
        return Answer(
            200,
            {
                "DailyApiRequests": {"Max": most, "Remaining": max(0, most - used)},
                "DailyBulkV2QueryJobs": {"Max": 10000, "Remaining": 10000},
                "DataStorageMB": {"Max": 10240, "Remaining": 10000},
            },
        )

    def find_target(self, request: Request) -> SObject:
        """The object that the path names. Raises Refusal."""
        target = self.schema.find(request.params["object"])
        if target is None:
            raise no_such_object(request.params["object"])
        return target

    # one record

    def create(self, request: Request) -> Answer:
        """POST sobjects/{object}."""
        target = self.find_target(request)
        id = self.records.create(target, read_json(request), path=request.path, rules=not allows_duplicates(request))
        location = f"/services/data/{request.params['version']}/sobjects/{target.name}/{id}"
        return Answer(201, {"id": id, "success": True, "errors": []}, {"Location": location})

    def read(self, request: Request) -> Answer:
        """GET sobjects/{object}/{id}, all fields or those of ?fields=."""
        target = self.find_target(request)
        return self.show_record(request, target, self.records.read(target, request.params["id"]))

    def read_by_external_id(self, request: Request) -> Answer:
        """GET sobjects/{object}/{field}/{value}."""
        target = self.find_target(request)
        return self.show_record(request, target, self.find_one(request, target))

    def show_record(self, request: Request, target: SObject, record: dict) -> Answer:
        """One record with its envelope."""
        names = list(target.fields)
        wanted = request.query.get("fields")
        if wanted:
            names = []
            for name in wanted.split(","):
                column = target.find_field(name.strip())
                if column is None:
                    raise refusal("INVALID_FIELD", f"No such column '{name.strip()}' on entity '{target.name}'")
                names.append(column.name)
        envelope = {
            "type": target.name,
            "url": f"/services/data/{request.params['version']}/sobjects/{target.name}/{record['Id']}",
        }
        shown = {"attributes": envelope, "Id": record["Id"], **{name: record.get(name) for name in names}}
        modified = parse_moment(record["LastModifiedDate"])
        return Answer(200, shown, {"Last-Modified": format_datetime(modified, usegmt=True)} if modified else {})

    def update(self, request: Request) -> Answer:
        """PATCH sobjects/{object}/{id}."""
        target = self.find_target(request)
        record = self.records.read(target, request.params["id"])
        _check_unmodified(request, record)
        self.records.update(target, record, read_json(request), path=request.path)
        return Answer(204)

    def delete(self, request: Request) -> Answer:
        """DELETE sobjects/{object}/{id}."""
        target = self.find_target(request)
        self.records.delete(target, self.records.read(target, request.params["id"]), path=request.path)
        return Answer(204)

    def delete_by_external_id(self, request: Request) -> Answer:
        """DELETE sobjects/{object}/{field}/{value}."""
        target = self.find_target(request)
        self.records.delete(target, self.find_one(request, target), path=request.path)
        return Answer(204)

    def find_one(self, request: Request, target: SObject) -> dict:
        """The record with the path's external id. Raises Refusal: 404 for none, 300 for several."""
        found = self.find_matches(request, target)
        if not found:
            raise refusal("NOT_FOUND", "The requested resource does not exist", status=404)
        return found[0]

    def find_matches(self, request: Request, target: SObject) -> list[dict]:
        """None or one record with the path's external id; several are refused with their addresses."""
        found = self.records.find_by_external_id(target, request.params["field"], request.params["value"])
        if len(found) > 1:
            root = f"/services/data/{request.params['version']}/sobjects/{target.name}"
            refused = refusal("", "", status=300)
            refused.answer.body = [f"{root}/{each['Id']}" for each in found]
            raise refused
        return found

    def upsert(self, request: Request) -> Answer:
        """PATCH sobjects/{object}/{field}/{value}: 201 when made, 200 when changed, 300 when several match."""
        target = self.find_target(request)
        body = read_json(request)
        id, created = self.save_by_external_id(request, target, body)
        return Answer(201 if created else 200, {"id": id, "success": True, "errors": [], "created": created})

    def save_by_external_id(self, request: Request, target: SObject, body: dict) -> tuple[str, bool]:
        """Make or change the record with the path's external id: its id, and whether it's new."""
        column = target.find_field(request.params["field"])
        name = column.name if column is not None else request.params["field"]
        value = request.params["value"]
        found = self.find_matches(request, target)
        if any(key.lower() in {"id", name.lower()} for key in body):
            message = f"The {name} field should not be specified in the sobject data."
            raise refusal("INVALID_FIELD", message, fields=[name])
        if found:
            self.records.update(target, found[0], body, path=request.path, external_id=value)
            return found[0]["Id"], False
        if request.query.get("updateOnly", "").lower() == "true":
            raise refusal("NOT_FOUND", "The requested resource does not exist", status=404)
        rules = not allows_duplicates(request)
        id = self.records.create(target, {**body, name: value}, path=request.path, external_id=value, rules=rules)
        return id, True

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

    # descriptions

    def describe_global(self, request: Request) -> Answer:
        """GET sobjects."""
        shown = [self.show_basics(request, each) for each in self.schema.objects.values()]
        return Answer(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": shown})

    def describe_basic(self, request: Request) -> Answer:
        """GET sobjects/{object}."""
        return Answer(200, {"objectDescribe": self.show_basics(request, self.find_target(request)), "recentItems": []})

    def show_basics(self, request: Request, target: SObject) -> dict:
        """An object without its fields."""
        root = f"/services/data/{request.params['version']}/sobjects/{target.name}"
        can = dict.fromkeys(("createable", "updateable", "deletable"), target.writable)
        return {
            "name": target.name,
            "label": target.name.removesuffix("__c").removeprefix("SBQQ__"),
            "keyPrefix": target.prefix,
            "custom": target.name.endswith("__c"),
            "queryable": True,
            "retrieveable": True,
            "replicateable": True,
            **can,
            "urls": {"sobject": root, "describe": root + "/describe", "rowTemplate": root + "/{ID}"},
        }

    def describe(self, request: Request) -> Answer:
        """GET sobjects/{object}/describe; 304 when nothing changed since."""
        target = self.find_target(request)
        since = request.headers.get("If-Modified-Since")
        fresh = self.store.find("CustomField", newest_first=True, limit=1)
        if since and not fresh and _parse_http_date(since) >= DESCRIBED_SINCE:
            return Answer(304)
        currencies = [each["IsoCode"] for each in self.store.find("CurrencyType") if each["IsActive"]]
        columns = [
            each.but(values=tuple(currencies)) if each.name == "CurrencyIsoCode" else each
            for each in target.fields.values()
        ]
        children = [
            {"childSObject": kind, "field": column.name, "relationshipName": column.children, "cascadeDelete": False}
            for kind, column in self.schema.children[target.name].values()
        ]
        body = self.show_basics(request, target) | {
            "fields": [each.describe() for each in columns],
            "childRelationships": children,
        }
        return Answer(200, body, {"Last-Modified": format_datetime(DESCRIBED_SINCE, usegmt=True)})


def read_json(request: Request) -> Any:
    """The body. Raises Refusal with JSON_PARSER_ERROR."""
    try:
        return request.json()
    except ValueError as error:
        raise refusal("JSON_PARSER_ERROR", f"Unexpected character or end of the entity body: {error}") from error


def allows_duplicates(request: Request) -> bool:
    """Whether the caller saves in spite of the duplicate rule."""
    return "allowsave=true" in request.headers.get("Sforce-Duplicate-Rule-Header", "").replace(" ", "").lower()


def _page_size(request: Request) -> int:
    for part in request.headers.get("Sforce-Query-Options", "").split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "batchsize" and value.strip().isdigit():
            return min(LARGEST_PAGE, max(SMALLEST_PAGE, int(value)))
    return LARGEST_PAGE


def _check_unmodified(request: Request, record: dict) -> None:
    since = request.headers.get("If-Unmodified-Since")
    changed = parse_moment(record["LastModifiedDate"])
    if since and changed and changed.replace(microsecond=0) > _parse_http_date(since):
        raise refusal("PRECONDITION_FAILED", "The record was changed since.", status=412)


def _parse_http_date(text: str) -> datetime:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        raise refusal("INVALID_HEADER", f"{text} is no HTTP date") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
