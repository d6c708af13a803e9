"""The control door: logs, documents, faults, limits, clock and reset of all sandboxes."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import web

from connectors.sandbox.clock import Clock, format_time
from connectors.sandbox.faults import Faults
from connectors.sandbox.outside import Outside
from connectors.sandbox.request import Answer, Refusal, decode_json
from connectors.sandbox.serving import build_response, make_request
from connectors.sandbox.vendor import Vendor

log = logging.getLogger(__name__)

LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
MOST_DOCUMENTS = 500
MOST_ENTRIES = 1000


class Control:
    """The control door over the vendors of one process."""

    def __init__(self, clock: Clock, vendors: dict[str, Vendor], faults: dict[str, Faults]):
        self.clock = clock
        self.vendors = vendors
        self.faults = faults

    def build_server(self) -> web.Server:
        """The low-level server of the control door."""
        return web.Server(self._answer, request_factory=make_request, access_log=None)

    async def _answer(self, incoming: web.BaseRequest) -> web.StreamResponse:
        body = await incoming.read()
        try:
            answer = self._dispatch(incoming, body)
        except Refusal as refusal:
            answer = refusal.answer
        except (ValueError, TypeError, KeyError) as error:
            answer = Answer(400, {"error": str(error)})
        except Exception:
            log.exception("control door: %s %s", incoming.method, incoming.path)
            answer = Answer(500, {"error": "the control door failed; see its log"})
        return build_response(answer, answer.payload())

    def _dispatch(self, incoming: web.BaseRequest, body: bytes) -> Answer:
        name = incoming.headers.get("Host", "")
        host = name if name.endswith("]") else name.rpartition(":")[0] or name
        if host not in LOCAL_NAMES:
            return Answer(403, {"error": "the control door answers to 127.0.0.1 only"})
        parts = [unquote(part) for part in incoming.path.strip("/").split("/")]
        if parts[0] != "_control" or len(parts) < 2:
            return Answer(404, {"error": "there's nothing here; begin with GET /_control/vendors"})
        given: object = None
        if incoming.method not in {"GET", "HEAD", "DELETE"}:
            if incoming.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
                return Answer(415, {"error": "Content-Type must be application/json"})
            try:
                given = decode_json(body)
            except msgspec.DecodeError as error:
                return Answer(400, {"error": f"not JSON: {error}"})
        query = dict(parse_qsl(incoming.rel_url.raw_query_string, keep_blank_values=True))
        whole: dict[tuple[str, ...], Callable[[], Answer]] = {
            ("GET", "vendors"): self.show_vendors,
            ("GET", "clock"): self.show_clock,
            ("POST", "clock"): lambda: self.move_clock(_as_dict(given)),
            ("POST", "reset"): lambda: self.reset(_as_dict(given)),
        }
        if len(parts) == 2 and (incoming.method, parts[1]) in whole:
            return whole[incoming.method, parts[1]]()
        vendor = self.vendors.get(parts[1])
        if vendor is None:
            return Answer(404, {"error": f"no sandbox {parts[1]}; there are {', '.join(sorted(self.vendors))}"})
        return self._dispatch_vendor(vendor, incoming.method, parts[2:], query, given, incoming.path)

    def _dispatch_vendor(
        self, vendor: Vendor, method: str, parts: list[str], query: dict, given: object, path: str
    ) -> Answer:
        match (method, *parts):
            case ("GET", "log"):
                return self.show_log(vendor, query)
            case ("GET", "arrivals"):
                return self.show_arrivals(vendor, query)
            case ("GET", "documents", type):
                return self.show_documents(vendor, type, query)
            case ("GET", "documents"):
                return Answer(200, {"types": _shown_types(vendor)})
            case ("GET", "screen", *page):
                return self.show_record(vendor, query.get("id") or query.get("query") or (page[-1] if page else ""))
            case ("POST", "documents", type):
                return self.make_documents(vendor, type, given, path)
            case ("GET", "faults"):
                return Answer(200, {"faults": [fault.describe() for fault in self.faults[vendor.code].ordered]})
            case ("POST", "faults"):
                return Answer(201, {"id": self.faults[vendor.code].add(_as_dict(given)).id})
            case ("DELETE", "faults"):
                self.faults[vendor.code].clear()
                return Answer(200, {"faults": []})
            case ("DELETE", "faults", id):
                self.faults[vendor.code].clear(int(id))
                return Answer(200, {"faults": [fault.describe() for fault in self.faults[vendor.code].ordered]})
            case ("GET", "limits"):
                return Answer(200, {"enforced": vendor.enforced})
            case ("POST", "limits"):
                return self.enforce_limits(vendor, _as_dict(given))
            case ("GET", "deliveries"):
                return Answer(200, vendor.outside.describe(float(query.get("within") or 0)))
            case ("POST", "webhooks"):
                with vendor.store.transaction():
                    return Answer(201, vendor.add_webhook(_as_dict(given)))
            case _:
                with vendor.store.transaction():
                    answer = vendor.control(method, parts, given)
                return answer or Answer(404, {"error": f"no such request: {method} {path}"})

    def show_vendors(self) -> Answer:
        """Where each sandbox listens and how to sign in."""
        return Answer(
            200,
            {
                code: {"url": vendor.base_url, "credentials": vendor.credentials()}
                for code, vendor in self.vendors.items()
            },
        )

    def show_log(self, vendor: Vendor, query: dict) -> Answer:
        """The accepted documents after a number."""
        limit = min(MOST_ENTRIES, max(1, int(query.get("limit") or MOST_ENTRIES)))
        entries = vendor.store.log_entries(after=int(query.get("after") or 0), limit=limit)
        return Answer(200, {"entries": entries, "last": vendor.store.last_log_number()})

    def show_arrivals(self, vendor: Vendor, query: dict) -> Answer:
        """Every write that arrived after a number, refused and repeated ones too."""
        limit = min(MOST_ENTRIES, max(1, int(query.get("limit") or MOST_ENTRIES)))
        entries = vendor.arrivals.entries(after=int(query.get("after") or 0), limit=limit)
        return Answer(200, {"entries": entries, "last": vendor.arrivals.last_number()})

    def show_documents(self, vendor: Vendor, type: str, query: dict) -> Answer:
        """One page of documents, oldest first; `next` is the `after` of the next page, or null."""
        limit = min(MOST_ENTRIES, max(1, int(query.get("limit") or 100)))
        items = vendor.list_documents(type, after=query.get("after") or None, limit=limit + 1)
        more = len(items) > limit
        items = items[:limit]
        identity = vendor.document_id
        return Answer(200, {"items": items, "next": identity(type, items[-1]) if more else None})

    def show_record(self, vendor: Vendor, id: str) -> Answer:
        """What stands under an id, for people who follow a link: in place of the vendor's own screens."""
        found = [
            {"type": type, "record": vendor.present(type, obj)}
            for type in _shown_types(vendor)
            if (obj := vendor.store.get(type, id)) is not None
        ]
        body = {"sandbox": vendor.code, "id": id, "found": found}
        text = json.dumps(body, indent=2, ensure_ascii=False, default=str)
        return Answer(200 if found else 404, text, {"Content-Type": "application/json; charset=utf-8"})

    def make_documents(self, vendor: Vendor, type: str, given: object, path: str) -> Answer:
        """Make one document or up to 500, all or none."""
        objects: list[Any] = given if isinstance(given, list) else [given]
        if not all(isinstance(each, dict) for each in objects):
            raise ValueError("one object or a list of objects is expected")
        if len(objects) > MOST_DOCUMENTS:
            raise ValueError(f"at most {MOST_DOCUMENTS} documents at once")
        with vendor.store.transaction():
            ids = vendor.make(type, objects)
            for id in ids:
                vendor.make_log_entry(type, id, path)
        return Answer(201, {"ids": ids})

    def enforce_limits(self, vendor: Vendor, given: dict) -> Answer:
        """Switch the documented limits on or off; it's kept over a restart."""
        if not isinstance(given.get("enforced"), bool):
            raise ValueError("enforced must be true or false")
        vendor.enforced = given["enforced"]
        vendor.store.keep_setting("limits_enforced", vendor.enforced)
        return Answer(200, {"enforced": vendor.enforced})

    def show_clock(self) -> Answer:
        """What time the sandboxes have."""
        return Answer(200, {"now": format_time(self.clock.time()), "offset_seconds": self.clock.offset})

    def move_clock(self, given: dict) -> Answer:
        """Move the sandboxes' clock, and let each do what has become due."""
        if given.get("reset") is True:
            self.clock.move(0.0)
        elif "now" in given:
            moment = datetime.fromisoformat(str(given["now"]))
            if moment.tzinfo is None:
                raise ValueError("now needs its time zone")
            self.clock.move((moment - datetime.now(UTC)).total_seconds())
        elif isinstance(given.get("offset_seconds"), int | float):
            self.clock.move(float(given["offset_seconds"]))
        else:
            raise ValueError("one of now, offset_seconds or reset is expected")
        for vendor in self.vendors.values():
            advance(vendor)
        return self.show_clock()

    def reset(self, given: dict) -> Answer:
        """Forget documents, faults and pending webhooks of some vendors or all; logs and credentials stay."""
        chosen = given.get("vendors")
        codes = list(self.vendors) if chosen is None else list(chosen)
        unknown = [code for code in codes if code not in self.vendors]
        if unknown:
            raise ValueError(f"no sandbox {', '.join(map(str, unknown))}")
        if given.get("keep") not in {"reference", "nothing"}:
            raise ValueError("keep must be reference or nothing")
        for code in codes:
            self.faults[code].clear()
            vendor = self.vendors[code]
            with vendor.store.transaction():
                vendor.reset(given["keep"])
        return Answer(200, {"vendors": codes, "keep": given["keep"]})


def advance(vendor: Vendor) -> None:
    """Let a vendor do what has become due by its clock, in one transaction; wake its webhook sender."""
    with vendor.store.transaction():
        vendor.advance()
    outside: Outside = vendor.outside
    outside.wake.set()


def _as_dict(given: object) -> dict:
    if not isinstance(given, dict):
        raise ValueError("an object is expected")
    return given


def _shown_types(vendor: Vendor) -> list[str]:
    """Types of documents; what the sandbox keeps for itself begins with an underscore, and isn't one."""
    return [type for type in vendor.store.types() if type[0] != "_"]
