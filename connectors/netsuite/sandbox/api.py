"""The requests of the record API, SuiteQL, the catalogue and the asynchronous jobs, one method each."""

from collections.abc import Callable
from typing import TypeVar

from connectors.netsuite.sandbox import desk, jobs, metadata
from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.errors import build_error, invalid_content, no_permission, not_there
from connectors.netsuite.sandbox.fields import RECORDS, Record
from connectors.netsuite.sandbox.filters import find_simple, parse_filter
from connectors.netsuite.sandbox.oauth import Doorkeeper
from connectors.netsuite.sandbox.suiteql import LARGEST_PAGE, Queries, build_page, read_number
from connectors.sandbox.request import Answer, Request
from connectors.sandbox.vendor import Vendor

RECORD_TYPE = "application/vnd.oracle.resource+json; type=singular"
LIST_TYPE = "application/vnd.oracle.resource+json; type=collection"
Made = TypeVar("Made")


class Api(Vendor):
    """What a client of the account may ask for; the doors around it are NetSuite's."""

    books: Books
    doorkeeper: Doorkeeper
    queries: Queries
    running: int

    def give_token(self, request: Request) -> Answer:
        """An access token for a signed assertion."""
        return self.doorkeeper.give_token(request, self.clock.time())

    def run_suiteql(self, request: Request) -> Answer:
        """One page of a query."""
        answer = self.queries.answer(request, self.base_url)
        if answer.status == 200:
            answer.headers = {"Content-Type": LIST_TYPE, "Preference-Applied": "transient"}
        return answer

    def show_limits(self, request: Request) -> Answer:
        """The concurrency limit and its use, for administrators."""
        if not self.books.preferences["administrator"]:
            raise no_permission("view governance limits")
        limit = self.books.preferences["concurrency"]
        return Answer(
            200, {"accountConcurrencyLimit": limit, "accountUnallocatedConcurrencyLimit": limit - self.running}
        )

    def show_time(self, request: Request) -> Answer:
        """The account's clock."""
        return Answer(200, {"serverTime": self.books.now()})

    def show_catalog(self, request: Request) -> Answer:
        """Record types as OpenAPI, or their list."""
        names = [name for name in request.query.get("select", "").split(",") if name]
        if metadata.OPENAPI_TYPE in request.headers.get("Accept", ""):
            return Answer(200, metadata.build_openapi(names), {"Content-Type": metadata.OPENAPI_TYPE})
        items = [{"name": name} for name in RECORDS if name not in desk.OWN and (not names or name in names)]
        return Answer(200, {"items": items}, {"Content-Type": LIST_TYPE})

    def show_schema(self, request: Request) -> Answer:
        """One record type as JSON Schema."""
        record = desk.find_record(request.params["type"])
        return Answer(200, metadata.build_schema(record), {"Content-Type": metadata.SCHEMA_TYPE})

    def show_job(self, request: Request) -> Answer:
        """Where a job stands."""
        return Answer(200, jobs.show_job(jobs.find_job(self.books, request.params["job"]), self.base_url))

    def list_tasks(self, request: Request) -> Answer:
        """The tasks of a job."""
        job = jobs.find_job(self.books, request.params["job"])
        items = [jobs.show_task(job, number, self.base_url) for number in range(1, len(job["tasks"]) + 1)]
        return Answer(200, build_page(self.base_url + request.path, items, limit=1000, offset=0, total=len(items)))

    def show_task(self, request: Request) -> Answer:
        """One task of a job."""
        job = jobs.find_job(self.books, request.params["job"])
        number = int(request.params["task"]) if request.params["task"].isdigit() else 0
        if not 1 <= number <= len(job["tasks"]):
            raise not_there()
        return Answer(200, jobs.show_task(job, number, self.base_url))

    def show_result(self, request: Request) -> Answer:
        """The outcome of a task, as it would have been answered."""
        number = int(request.params["task"]) if request.params["task"].isdigit() else 0
        return jobs.show_result(jobs.find_job(self.books, request.params["job"]), number)

    def list_records(self, request: Request) -> Answer:
        """Ids and links of the records that `q` lets through; whole records with expandRecords."""
        record = desk.find_record(request.params["type"])
        limit = read_number(request, "limit", LARGEST_PAGE, at_least=1, at_most=LARGEST_PAGE)
        offset = read_number(request, "offset", 0, at_least=0, at_most=10_000_000)
        if offset % limit:
            return build_error(
                400, "INVALID_PARAMETER", "The offset must be divisible by the limit.", parameter="offset"
            )
        ids, total = self._find_ids(record, request, limit, offset)
        root = f"{self.base_url}{desk.ROOT}/{record.name}"
        if request.query.get("expandRecords") == "true":
            items = [self._show(request, record, self.books.at(record.name, id)) for id in ids]
        else:
            items = [{"links": [{"rel": "self", "href": f"{root}/{id}"}], "id": id} for id in ids]
        page = build_page(root, items, limit=limit, offset=offset, total=total)
        return Answer(200, page, {"Content-Type": LIST_TYPE})

    def _find_ids(self, record: Record, request: Request, limit: int, offset: int) -> tuple[list[str], int]:
        q = request.query.get("q")
        if q:
            external_id = find_simple(q)
            if external_id is not None:
                found = self.books.find_id(record.space, external_id)
                ids = [found[1]] if found and found[0] == record.name else []
            else:
                test = parse_filter(q)
                everything = (self.present(record.name, obj) for obj in self.store.find(record.name))
                ids = [obj["id"] for obj in everything if test(obj)]
        elif request.query.get("ids"):
            ids = [id for id in request.query["ids"].split(",") if self.books.at(record.name, id) is not None]
        else:
            rows = self.store.db.execute(
                "SELECT id FROM documents WHERE type=? ORDER BY seq LIMIT ? OFFSET ?", (record.name, limit, offset)
            )
            return [id for (id,) in rows], self.store.count(record.name)
        return ids[offset : offset + limit], len(ids)

    def read_record(self, request: Request) -> Answer:
        """One record by id or external id."""
        record = desk.find_record(request.params["type"])
        obj = self.books.must_find(record.name, request.params["key"])
        return Answer(200, self._show(request, record, obj), {"Content-Type": RECORD_TYPE})

    def _show(self, request: Request, record: Record, obj: dict) -> dict:
        query = request.query
        fields = frozenset(filter(None, query.get("fields", "").split(",")))
        return desk.show(
            self.books,
            record,
            obj,
            self.base_url,
            expand=query.get("expandSubResources", "").lower() == "true",
            fields=fields,
            simple=query.get("simpleEnumFormat", "").lower() == "true",
        )

    def read_sublist(self, request: Request) -> Answer:
        """The lines of one sublist."""
        record = desk.find_record(request.params["type"])
        obj = self.books.must_find(record.name, request.params["key"])
        name = request.params["sublist"]
        if name not in record.lists:
            raise not_there(f"The sub-resource '{name}' does not exist.")
        lines = obj.get(name, {}).get("items", [])
        return Answer(200, desk.show_lines(lines, self.base_url + request.path, expand=True))

    def create_record(self, request: Request) -> Answer:
        """204 with the new record's address; a collection is accepted asynchronously only."""
        record = desk.find_record(request.params["type"])
        desk.check_role(self.books, record, "create")
        if "type=collection" in request.headers.get("Content-Type", ""):
            return self.accept_batch(request)
        if jobs.wants_async(request):
            return jobs.accept_job(self.books, request, self.base_url)
        with_strict = self._is_strict(request)
        obj = self._guard(lambda: desk.create(self.books, record, _body(request), strict=with_strict))
        return self._done(request, record, obj, "created")

    def upsert_record(self, request: Request) -> Answer:
        """Make the record with that external id, or change it."""
        record = desk.find_record(request.params["type"])
        key = request.params["key"]
        if not key.startswith("eid:"):
            return build_error(405, "METHOD_NOT_ALLOWED", "PUT needs an external ID in the form eid:{externalId}.")
        external_id = desk.check_external_id(key[4:])
        known = self.books.find_id(record.space, external_id)
        old = self.books.get(*known) if known is not None and known[0] == record.name else None
        desk.check_role(self.books, record, "create" if old is None else "edit")
        if jobs.wants_async(request):
            return jobs.accept_job(self.books, request, self.base_url)
        strict = self._is_strict(request)
        if old is not None:
            return self._update(request, record, old, strict=strict)
        obj = self._guard(
            lambda: desk.create(self.books, record, _body(request), strict=strict, external_id=external_id)
        )
        return self._done(request, record, obj, "created")

    def update_record(self, request: Request) -> Answer:
        """Change a record."""
        record = desk.find_record(request.params["type"])
        desk.check_role(self.books, record, "edit")
        old = self.books.must_find(record.name, request.params["key"])
        if jobs.wants_async(request):
            return jobs.accept_job(self.books, request, self.base_url)
        return self._update(request, record, old, strict=self._is_strict(request))

    def _update(self, request: Request, record: Record, old: dict, *, strict: bool) -> Answer:
        replace = frozenset(filter(None, request.query.get("replace", "").split(",")))
        obj = self._guard(lambda: desk.update(self.books, record, old, _body(request), strict=strict, replace=replace))
        return self._done(request, record, obj, "updated")

    def delete_record(self, request: Request) -> Answer:
        """Delete a record, if the role may."""
        record = desk.find_record(request.params["type"])
        desk.check_role(self.books, record, "delete")
        obj = self.books.must_find(record.name, request.params["key"])
        if jobs.wants_async(request):
            return jobs.accept_job(self.books, request, self.base_url)
        self._guard(lambda: desk.delete(self.books, record, obj))
        self._log(request, record, obj, "deleted")
        return Answer(204)

    def transform_record(self, request: Request) -> Answer:
        """A new transaction out of another one."""
        source, target = desk.find_record(request.params["type"]), desk.find_record(request.params["target"])
        desk.check_role(self.books, target, "create")
        obj = self.books.must_find(source.name, request.params["key"])
        if jobs.wants_async(request):
            return jobs.accept_job(self.books, request, self.base_url)
        given = _body(request) if request.body else {}
        strict = self._is_strict(request)
        made = self._guard(lambda: desk.transform(self.books, source, obj, target, given, strict=strict))
        return self._done(request, target, made, "created")

    def accept_batch(self, request: Request) -> Answer:
        """A collection of records to make, change or delete: asynchronously, or not at all."""
        record = desk.find_record(request.params["type"])
        acts = {"POST": "create", "DELETE": "delete"}
        desk.check_role(self.books, record, acts.get(request.method, "edit"))
        if not jobs.wants_async(request):
            detail = "Operations on collections are supported only in asynchronous mode (Prefer: respond-async)."
            return build_error(400, "INVALID_REQUEST", detail, header="Prefer")
        given = _body(request)
        items = given.get("items") if isinstance(given, dict) else None
        if not isinstance(items, list) or not items or not all(isinstance(each, dict) for each in items):
            raise invalid_content("A collection needs its records in 'items'.", path="items")
        return jobs.accept_job(self.books, request, self.base_url, batch=items)

    def _is_strict(self, request: Request) -> bool:
        return request.headers.get("X-NetSuite-PropertyNameValidation", "Warning").lower() == "error"

    def _guard(self, act: Callable[[], Made]) -> Made:
        """Do something that may be refused half-way; then what was cached of it isn't true."""
        try:
            return act()
        except BaseException:
            self.books.forget_cache()
            raise

    def _done(self, request: Request, record: Record, obj: dict, effect: str) -> Answer:
        self._log(request, record, obj, effect)
        return Answer(204, None, {"Location": f"{self.base_url}{desk.ROOT}/{record.name}/{obj['id']}"})

    def _log(self, request: Request, record: Record, obj: dict, effect: str) -> None:
        self.store.log(
            request.method,
            request.path,
            record.name,
            obj["id"],
            external_id=obj.get("externalId"),
            idempotency_key=request.headers.get(jobs.KEY_HEADER),
            effect=effect,
        )


def _body(request: Request) -> object:
    try:
        return request.json()
    except ValueError as error:
        raise invalid_content(f"Invalid content in the request body: {error}.") from error
