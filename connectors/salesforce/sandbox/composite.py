"""Handlers for many at once: composite requests with references, graphs, collections and trees."""

import json
from typing import Any
from urllib.parse import unquote

from connectors.salesforce.sandbox.errors import as_collection_error, error_body, refusal
from connectors.salesforce.sandbox.records import try_each
from connectors.salesforce.sandbox.references import REFERENCE, PartHeaders, fill_in
from connectors.salesforce.sandbox.rest import allows_duplicates, read_json
from connectors.salesforce.sandbox.schema import BY_PREFIX, SObject
from connectors.sandbox.request import Answer, Refusal, Request, encode_json

MOST_SUBREQUESTS = 25
MOST_RECORDS = 200
MOST_NODES, MOST_GRAPHS = 500, 75
HALTED = error_body(
    "PROCESSING_HALTED", "The transaction was rolled back since another operation in the same transaction failed."
)
ROLLED_BACK = {
    "statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "message": "Record rolled back because not all records were valid and the request was using AllOrNone header",
    "fields": [],
}


class Unfinished(Exception):
    """Undoes everything of a part of which one failed."""


class CompositeHandlers:
    """The part of the org that answers many requests or records in one."""

    records: Any
    schema: Any
    find_route: Any

    # composite requests

    def composite(self, request: Request) -> Answer:
        """POST composite: up to 25 requests, each of which may use the answers of those before."""
        body = read_json(request)
        parts = body.get("compositeRequest") if isinstance(body, dict) else None
        if not isinstance(parts, list) or not 1 <= len(parts) <= MOST_SUBREQUESTS:
            raise refusal("LIMIT_EXCEEDED", f"1 to {MOST_SUBREQUESTS} subrequests are expected")
        return Answer(200, {"compositeResponse": self.run_parts(request, parts, bool(body.get("allOrNone")))[0]})

    def composite_graph(self, request: Request) -> Answer:
        """POST composite/graph: each graph is done wholly or not at all."""
        body = read_json(request)
        graphs = body.get("graphs") if isinstance(body, dict) else None
        if not isinstance(graphs, list) or not 1 <= len(graphs) <= MOST_GRAPHS:
            raise refusal("LIMIT_EXCEEDED", f"1 to {MOST_GRAPHS} graphs are expected")
        if sum(len(each.get("compositeRequest", ())) for each in graphs) > MOST_NODES:
            raise refusal("LIMIT_EXCEEDED", f"at most {MOST_NODES} nodes")
        shown = []
        for graph in graphs:
            answers, is_good = self.run_parts(request, graph["compositeRequest"], True)
            shown.append(
                {
                    "graphId": graph.get("graphId"),
                    "graphResponse": {"compositeResponse": answers},
                    "isSuccessful": is_good,
                }
            )
        return Answer(200, {"graphs": shown})

    def run_parts(self, request: Request, parts: list[dict], all_or_none: bool) -> tuple[list[dict], bool]:
        """The answers of some subrequests, and whether all succeeded."""
        shown: list[dict] = []
        known: dict[str, Any] = {}
        failed: set[str] = set()
        try:
            with self.records.savepoint():
                for part in parts:
                    answer = self.run_part(request, part, known, failed)
                    reference = str(part.get("referenceId"))
                    body = _read_body(answer)
                    if answer.status >= 300:
                        failed.add(reference)
                    else:
                        known[reference] = body
                    shown.append(_show_part(reference, answer, body))
                if failed and all_or_none:
                    raise Unfinished
        except Unfinished:
            first = next(index for index, each in enumerate(shown) if each["httpStatusCode"] >= 300)
            for index, each in enumerate(shown):
                if index != first:
                    each.update(body=HALTED, httpHeaders={}, httpStatusCode=400)
        return shown, not failed

    def run_part(self, request: Request, part: dict, known: dict, failed: set[str]) -> Answer:
        """One subrequest, undone alone when it's refused."""
        missing = {name.partition(".")[0] for name in REFERENCE.findall(json.dumps(part))} - known.keys()
        if missing:
            if missing <= failed:
                return Answer(400, HALTED)
            return Answer(
                400,
                error_body(
                    "PROCESSING_HALTED", f"Invalid reference specified. No value for {', '.join(sorted(missing))}"
                ),
            )
        try:
            with self.records.savepoint():
                address = str(fill_in(part.get("url", ""), known))
                path, _, query = address.partition("?")
                body = encode_json(fill_in(part["body"], known)) if part.get("body") is not None else b""
                headers = PartHeaders(part.get("httpHeaders") or {}, request.headers)
                sub = Request(str(part.get("method", "GET")).upper(), unquote(path), query, headers, body)
                found = self.find_route(sub)
                if found is None or found[1] in {"composite", "composite_graph", "token", "revoke"}:
                    return Answer(404, error_body("NOT_FOUND", "The requested resource does not exist"))
                return found[2](sub)
        except Refusal as refused:
            return refused.answer

    # collections

    def create_many(self, request: Request) -> Answer:
        """POST composite/sobjects."""
        rules = not allows_duplicates(request)

        def make(record: dict) -> dict:
            target = self.read_type(record)
            id = self.records.create(target, record, path=request.path, rules=rules)
            return {"id": id, "success": True, "errors": []}

        return self.answer_many(request, make)

    def update_many(self, request: Request) -> Answer:
        """PATCH composite/sobjects."""

        def change(record: dict) -> dict:
            target = self.read_type(record)
            names = {name.lower(): name for name in record}
            if "id" not in names:
                raise refusal("MISSING_ARGUMENT", "Id not specified in an update call")
            existing = self.records.read(target, record[names["id"]])
            rest = {name: value for name, value in record.items() if name != names["id"]}
            self.records.update(target, existing, rest, path=request.path)
            return {"id": existing["Id"], "success": True, "errors": []}

        return self.answer_many(request, change)

    def upsert_many(self, request: Request) -> Answer:
        """PATCH composite/sobjects/{object}/{field}."""
        target = self.find_target(request)  # type: ignore[attr-defined]
        column = target.find_field(request.params["field"])

        def save(record: dict) -> dict:
            if column is None or not column.external_id:
                raise refusal("NOT_FOUND", "Provided external ID field does not exist or is not accessible")
            value = record.get(column.name)
            if not isinstance(value, str) or not value:
                raise refusal("MISSING_ARGUMENT", f"{column.name} not specified")
            found = self.records.find_by_external_id(target, column.name, value)
            if len(found) > 1:
                raise refusal("DUPLICATE_EXTERNAL_ID", f"{column.name}: more than one record found for {value}")
            if found:
                rest = {name: each for name, each in record.items() if name != column.name}
                self.records.update(target, found[0], rest, path=request.path, external_id=value)
                return {"id": found[0]["Id"], "success": True, "errors": [], "created": False}
            id = self.records.create(target, record, path=request.path, external_id=value)
            return {"id": id, "success": True, "errors": [], "created": True}

        return self.answer_many(request, save)

    def delete_many(self, request: Request) -> Answer:
        """DELETE composite/sobjects?ids=a,b."""
        ids = [each for each in request.query.get("ids", "").split(",") if each]

        def remove(id: str) -> dict:
            target = BY_PREFIX.get(id[:3])
            if target is None:
                raise refusal("MALFORMED_ID", f"malformed id {id}")
            record = self.records.read(target, id)
            self.records.delete(target, record, path=request.path)
            return {"id": record["Id"], "success": True, "errors": []}

        all_or_none = request.query.get("allOrNone", "").lower() == "true"
        return Answer(200, self.do_many(ids, remove, all_or_none))

    def read_many(self, request: Request) -> Answer:
        """GET or POST composite/sobjects/{object} with ids and fields; null for what isn't there."""
        target = self.find_target(request)  # type: ignore[attr-defined]
        given = read_json(request) if request.method == "POST" else {}
        ids = given.get("ids") or [each for each in request.query.get("ids", "").split(",") if each]
        names = given.get("fields") or [each for each in request.query.get("fields", "").split(",") if each]
        columns = [target.find_field(name) for name in names]
        if not ids or not columns or None in columns:
            raise refusal("INVALID_FIELD", f"ids and known fields of {target.name} are expected")
        outcomes = try_each(self.records, [lambda id=id: self.records.read(target, id) for id in ids])
        shown = []
        for record, refused in outcomes:
            url = f"/services/data/{request.params['version']}/sobjects/{target.name}/"
            envelope = {"attributes": {"type": target.name, "url": url + record["Id"]}} if refused is None else {}
            values = {column.name: record[column.name] for column in columns} if refused is None else {}
            shown.append({**envelope, **values} if refused is None else None)
        return Answer(200, shown)

    def read_type(self, record: Any) -> SObject:
        """The object that a record's attributes name. Raises Refusal."""
        attributes = record.get("attributes") if isinstance(record, dict) else None
        target = self.schema.find(str((attributes or {}).get("type", "")))
        if target is None:
            raise refusal("INVALID_TYPE", "the record's attributes name no object of this org")
        return target

    def answer_many(self, request: Request, action: Any) -> Answer:
        """A collection done record by record."""
        body = read_json(request)
        records = body.get("records") if isinstance(body, dict) else None
        if not isinstance(records, list):
            raise refusal("JSON_PARSER_ERROR", "records is expected to be a list")
        return Answer(200, self.do_many(records, action, bool(body.get("allOrNone"))))

    def do_many(self, items: list, action: Any, all_or_none: bool) -> list[dict]:
        """The results in the order of the items. Raises Refusal for too many."""
        if len(items) > MOST_RECORDS:
            raise refusal("LIMIT_EXCEEDED", f"at most {MOST_RECORDS} records at once")
        outcomes: list[tuple[Any, Refusal | None]] = []
        try:
            with self.records.savepoint():
                outcomes = try_each(self.records, [lambda item=item: action(item) for item in items])
                if all_or_none and any(refused for _, refused in outcomes):
                    raise Unfinished
        except Unfinished:
            return [
                {"success": False, "errors": [as_collection_error(refused.answer) if refused else ROLLED_BACK]}
                for _, refused in outcomes
            ]
        return [
            result if refused is None else {"success": False, "errors": [as_collection_error(refused.answer)]}
            for result, refused in outcomes
        ]

    # trees

    def tree(self, request: Request) -> Answer:
        """POST composite/tree/{object}: records with their children, all or none."""
        target = self.find_target(request)  # type: ignore[attr-defined]
        given = read_json(request)
        results: list[dict] = []
        count = 0

        def make(kind: SObject, record: dict, extra: dict) -> None:
            nonlocal count
            count += 1
            if count > MOST_RECORDS:
                raise refusal("LIMIT_EXCEEDED", f"at most {MOST_RECORDS} records in a tree")
            lists = {name: value for name, value in record.items() if isinstance(value, dict) and "records" in value}
            own = {name: value for name, value in record.items() if name not in lists}
            reference = (record.get("attributes") or {}).get("referenceId")
            id = self.records.create(kind, {**own, **extra}, path=request.path)
            results.append({"referenceId": reference, "id": id})
            for name, nested in lists.items():
                found = self.schema.find_children(kind.name, name)
                if found is None:
                    raise refusal("INVALID_FIELD", f"No such relationship '{name}' on {kind.name}")
                for each in nested["records"]:
                    make(found[0], each, {found[1].name: id})

        try:
            with self.records.savepoint():
                for record in given["records"]:
                    make(target, record, {})
        except Refusal as refused:
            return Answer(400, {"hasErrors": True, "results": [{"errors": [as_collection_error(refused.answer)]}]})
        return Answer(201, {"hasErrors": False, "results": results})


def _read_body(answer: Answer) -> Any:
    return json.loads(answer.payload() or b"null")


def _show_part(reference: str, answer: Answer, body: Any) -> dict:
    headers = {name: value for name, value in answer.headers.items() if name == "Location"}
    return {"body": body, "httpHeaders": headers, "httpStatusCode": answer.status, "referenceId": reference}
