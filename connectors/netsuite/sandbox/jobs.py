"""Asynchronous requests: accepted with 202, carried out a moment later, their outcome kept for whoever asks.

A job is stored before it's answered for, so a killed process carries it out after its restart.
"""

from collections.abc import Callable
from typing import Any

from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.errors import build_error, not_there
from connectors.sandbox.request import Answer, Refusal, Request, decode_json, encode_json

ROOT = "/services/rest/async/v1/job"
KEY_HEADER = "X-NetSuite-Idempotency-Key"
KEPT_HEADERS = ("X-NetSuite-PropertyNameValidation", KEY_HEADER)


def wants_async(request: Request) -> bool:
    """Whether the request asks for `Prefer: respond-async`."""
    return "respond-async" in request.headers.get("Prefer", "").lower()


def accept_job(books: Books, request: Request, root: str, *, batch: list[dict] | None = None) -> Answer:
    """Store a request as a job: 202 with its address; 400 IDEMPOTENCY_ERROR when the key was used before."""
    key = request.headers.get(KEY_HEADER)
    if key is not None:
        earlier = books.store.find("job", key=key)
        if earlier:
            detail = "A request with this idempotency key has already been submitted."
            place = {"Location": f"{root}{ROOT}/{earlier[0]['id']}"}
            return build_error(400, "IDEMPOTENCY_ERROR", detail, header=KEY_HEADER, title="Conflict", headers=place)
    headers = {name: request.headers[name] for name in KEPT_HEADERS if name in request.headers}
    tasks = (
        _split_batch(request, batch) if batch is not None else [_describe(request, request.path, request.body.decode())]
    )
    id = str(books.store.next_number("job"))
    job = {"id": id, "key": key, "headers": headers, "progress": "pending", "tasks": tasks}
    books.store.put("job", id, job, keys={"progress": "pending", "key": key})
    return Answer(202, None, {"Location": f"{root}{ROOT}/{id}", "Preference-Applied": "respond-async"})


def _describe(request: Request, path: str, body: str) -> dict[str, Any]:
    return {"method": request.method, "path": path, "query": request.query_string, "body": body, "result": None}


def _split_batch(request: Request, batch: list[dict]) -> list[dict[str, Any]]:
    """One task per record of a collection; PUT, PATCH and DELETE find theirs by `id` or `externalId`."""
    tasks = []
    for each in batch:
        path = request.path
        if request.method != "POST":
            key = each.get("id") or f"eid:{each.get('externalId')}"
            path += f"/{key}"
            each = {name: value for name, value in each.items() if name != "id"}
        tasks.append(_describe(request, path, encode_json(each).decode()))
    return tasks


def run_jobs(books: Books, carry_out: Callable[[Request], Answer]) -> None:
    """Carry out what waits, each task on its own: one that is refused undoes only itself."""
    for job in books.store.find("job", progress="pending", limit=20):
        for task in job["tasks"]:
            request = Request(task["method"], task["path"], task["query"], dict(job["headers"]), task["body"].encode())
            books.store.db.execute("SAVEPOINT task")
            try:
                answer = carry_out(request)
            except Refusal as refusal:
                books.store.db.execute("ROLLBACK TO task")
                books.forget_cache()
                answer = refusal.answer
            books.store.db.execute("RELEASE task")
            payload = answer.payload()
            headers = dict(answer.headers)
            task["result"] = {
                "status": answer.status,
                "headers": headers,
                "body": decode_json(payload) if payload else None,
            }
        failed = any(task["result"]["status"] >= 400 for task in job["tasks"])
        job["progress"] = "failed" if failed else "succeeded"
        books.store.put("job", job["id"], job, keys={"progress": job["progress"], "key": job["key"]})


def find_job(books: Books, id: str) -> dict:
    """The job, or 404."""
    job = books.store.get("job", id)
    if job is None:
        raise not_there()
    return job


def show_job(job: dict, root: str) -> dict:
    """A job as it's polled."""
    url = f"{root}{ROOT}/{job['id']}"
    return {
        "links": [{"rel": "self", "href": url}],
        "id": job["id"],
        "completed": job["progress"] in {"succeeded", "failed"},
        "progress": job["progress"],
        "task": {"links": [{"rel": "self", "href": f"{url}/task"}]},
    }


def show_task(job: dict, number: int, root: str) -> dict:
    """One task of a job."""
    url = f"{root}{ROOT}/{job['id']}/task/{number}"
    result = job["tasks"][number - 1]["result"]
    progress = "pending" if result is None else "failed" if result["status"] >= 400 else "succeeded"
    links = [{"rel": "self", "href": url}, {"rel": "result", "href": f"{url}/result"}]
    return {"links": links, "id": str(number), "completed": result is not None, "progress": progress}


def show_result(job: dict, number: int) -> Answer:
    """The answer that the request would have had, had it waited."""
    if not 1 <= number <= len(job["tasks"]) or job["tasks"][number - 1]["result"] is None:
        raise not_there("The result of the task does not exist.")
    result = job["tasks"][number - 1]["result"]
    return Answer(result["status"], result["body"], result["headers"])
