"""Handlers of the plain resources: sobjects, upsert, describe, limits, versions."""

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from connectors.salesforce.sandbox.errors import refusal
from connectors.salesforce.sandbox.paging import QueryHandlers
from connectors.salesforce.sandbox.schema import SObject
from connectors.salesforce.sandbox.values import parse_moment
from connectors.sandbox.request import Answer, Request

PUBLISHED = ("58.0", "59.0", "60.0", "61.0", "62.0", "63.0", "64.0", "65.0", "66.0", "67.0", "68.0")
DESCRIBED_SINCE = datetime(2026, 1, 1, tzinfo=UTC)  # the org's objects haven't changed since


class RestHandlers(QueryHandlers):
    """The part of the org that answers one record or one description at a time."""

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
