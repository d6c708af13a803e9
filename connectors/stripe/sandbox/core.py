"""What all of Stripe's objects share here: ids, time, saving with its keys, events, timers, answers."""

import random
import string
from typing import Any

from connectors.sandbox.request import Answer, Request, nest_pairs
from connectors.sandbox.vendor import Vendor
from connectors.stripe.sandbox.errors import invalid, no_such

API_VERSION = "2026-10-28.endive"
ALPHABET = string.ascii_letters + string.digits
EVENT_SECONDS = 30 * 86400

# What lists filter by: looked up by equality, so each is an indexed key of the store.
KEYS: dict[str, tuple[str, ...]] = {
    "customer": ("email",),
    "product": (),
    "price": ("product", "lookup_key"),
    "invoice": ("customer", "status"),
    "invoiceitem": ("customer", "invoice"),
    "credit_note": ("customer", "invoice"),
    "subscription": ("customer", "status"),
    "subscription_schedule": ("customer",),
    "payment_intent": ("customer",),
    "charge": ("customer", "payment_intent"),
    "refund": ("charge", "payment_intent"),
    "dispute": ("charge", "payment_intent"),
    "balance_transaction": ("type", "currency", "payout", "source"),
    "payout": ("status",),
    "invoice_payment": ("invoice", "status"),
    "customer_balance_transaction": ("customer",),
    "event": ("type",),
}

PREFIXES = {
    "cus": "customer",
    "prod": "product",
    "price": "price",
    "in": "invoice",
    "ii": "invoiceitem",
    "cn": "credit_note",
    "sub": "subscription",
    "sub_sched": "subscription_schedule",
    "pi": "payment_intent",
    "ch": "charge",
    "re": "refund",
    "du": "dispute",
    "txn": "balance_transaction",
    "po": "payout",
    "inpay": "invoice_payment",
    "cbtxn": "customer_balance_transaction",
    "pr": "payment_record",
    "txr": "tax_rate",
    "pm": "payment_method",
    "evt": "event",
    "we": "webhook_endpoint",
    "mtr": "billing.meter",
}


def make_id(prefix: str) -> str:
    """A new id in Stripe's form."""
    return f"{prefix}_1{''.join(random.choices(ALPHABET, k=23))}"


def read_given(request: Request) -> dict[str, Any]:
    """The parameters of a request: form for writes, query string for reads, nested."""
    if request.method == "POST":
        return request.form()
    given = nest_pairs(request.query_list)
    return {**given, **request.form()} if request.body else given


class StripeCore(Vendor):
    """The state that handlers share. Handlers are plain functions of (stripe, request)."""

    code = "stripe"
    in_flight: set[str]  # idempotency keys of requests that are being executed
    current: Request | None = None  # the request that is being executed, for the events it causes
    request_id: str | None = None

    @property
    def now(self) -> int:
        """Unix seconds by the sandboxes' clock."""
        return int(self.clock.time())

    # objects

    def fetch(self, type: str, id: str | None, *, param: str | None = "id") -> dict:
        """The object. Raises Refusal: 404 when the id came in the path, 400 when in the parameter `param`."""
        obj = self.store.get(type, id) if id else None
        if obj is None or obj.get("deleted"):
            raise no_such(type, id or "", param=param)
        return obj

    def save(self, obj: dict, *, at: int | None = None) -> None:
        """Store an object under its own name, with the keys that lists filter by."""
        type = obj["object"]
        keys = {name: obj.get(name) for name in KEYS.get(type, ())}
        if type == "invoice":
            keys["subscription"] = find_subscription(obj)
        elif type == "invoice_payment":
            payment = obj["payment"]
            keys[payment["type"]] = payment[payment["type"]]
        self.store.put(type, obj["id"], obj, keys=keys, at=obj.get("created") if at is None else at)

    def change(self, obj: dict, event: str | None = None, **changes: Any) -> dict:
        """Change fields, save, and fire `event` (an *.updated one) with the previous values."""
        previous = {name: _before(obj.get(name), value) for name, value in changes.items() if obj.get(name) != value}
        obj.update(changes)
        self.save(obj)
        if event and previous:
            self.emit(event, obj, previous=previous)
        return obj

    def answer(self, request: Request, obj: dict, *, effect: str | None = None) -> Answer:
        """The object as the answer, expanded as asked. With `effect` the write is logged."""
        if effect is not None:
            self.note(request, obj, effect)
        return Answer(200, self.expand(self.present(obj["object"], obj), read_given(request).get("expand")))

    def note(self, request: Request, obj: dict, effect: str) -> None:
        """Log an accepted write."""
        self.store.log(
            request.method,
            request.path,
            obj["object"],
            obj["id"],
            external_id=find_external_id(obj),
            idempotency_key=request.headers.get("Idempotency-Key"),
            effect=effect,
        )

    def expand(self, obj: dict, paths: list[str] | None) -> dict:
        """Replace ids by their objects along dotted paths of at most four steps."""
        for path in paths or ():
            steps = str(path).split(".")
            if len(steps) > 4:
                raise invalid("You cannot expand more than 4 levels of a property.", param="expand")
            self._expand_path(obj, steps, path)
        return obj

    def _expand_path(self, obj: dict, steps: list[str], path: str) -> None:
        name, rest = steps[0], steps[1:]
        if name == "payments" and obj.get("object") == "invoice":
            obj[name] = self.list_payments(obj)
        if name not in obj:
            raise invalid(f"This property cannot be expanded ({path}).", code=None, param="expand")
        value = obj[name]
        if isinstance(value, str):
            obj[name] = value = self._expand_id(value, name)
        elif isinstance(value, list):
            value = obj[name] = [self._expand_id(each) if isinstance(each, str) else each for each in value]
        for each in value if isinstance(value, list) else [value]:
            if rest and isinstance(each, dict):
                self._expand_path(each, rest, path)

    def _expand_id(self, id: str, name: str = "") -> Any:
        type = PREFIXES.get(id.rpartition("_")[0]) or (name if name == "product" else None)  # its id may be chosen
        obj = self.store.get(type, id) if type else None
        return id if obj is None else self.present(obj["object"], obj)

    def list_payments(self, invoice: dict) -> dict:
        """The payments of an invoice as its embedded list."""
        payments = self.store.find("invoice_payment", invoice=invoice["id"])
        return {"object": "list", "url": "/v1/invoice_payments", "has_more": False, "data": payments}

    # time

    def set_timer(self, kind: str, id: str, due: int) -> None:
        """Ask that `kind` is done for an object once the clock passes `due`. A new time replaces the old one."""
        self.store.put("_timer", f"{kind}:{id}", {"kind": kind, "id": id, "due": due}, at=due)

    def stop_timer(self, kind: str, id: str) -> None:
        """Forget about it."""
        self.store.delete("_timer", f"{kind}:{id}")

    # events

    def emit(self, type: str, obj: dict, *, previous: dict | None = None) -> str:
        """Fire an event with a snapshot of the object, and queue it for the endpoints that want it."""
        id = make_id("evt")
        data: dict[str, Any] = {"object": self.present(obj["object"], obj)}
        if previous is not None:
            data["previous_attributes"] = previous
        wanting = [endpoint for endpoint in self.endpoints() if is_wanted(endpoint, type)]
        key = self.current.headers.get("Idempotency-Key") if self.current is not None else None
        event: dict[str, Any] = {
            "id": id,
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now,
            "data": data,
            "livemode": False,
            "pending_webhooks": len(wanting),
            "request": {"id": self.request_id if self.current is not None else None, "idempotency_key": key},
            "type": type,
        }
        self.store.put("event", id, event, keys={"type": type}, at=event["created"])
        for endpoint in wanting:
            self.outside.send(id, endpoint["id"], name=type, text=_EventText(self.store, id))
        return id

    def endpoints(self) -> list[dict]:
        """The webhook endpoints, kept in memory because each event asks for them."""
        raise NotImplementedError

    def forget_endpoints(self) -> None:
        """They have changed."""
        raise NotImplementedError

    def on_invoice_paid(self, invoice: dict) -> None:
        """What follows for a subscription."""
        raise NotImplementedError


def _before(old: Any, new: Any) -> Any:
    """What `previous_attributes` says of a value: of a dictionary its changed keys only, an added one as null."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return old
    return {key: old.get(key) for key in {**old, **new} if old.get(key) != new.get(key)}


class _EventText:
    """The event's JSON, read only when a fault has to look for an external id in it."""

    def __init__(self, store: Any, id: str):
        self.store, self.id = store, id

    def __call__(self) -> str:
        return (self.store.get_raw("event", self.id) or b"").decode()


def is_wanted(endpoint: dict, type: str) -> bool:
    """Whether an endpoint subscribes to that type."""
    wanted = endpoint["enabled_events"]
    return endpoint["status"] == "enabled" and ("*" in wanted or type in wanted)


def find_subscription(obj: dict) -> str | None:
    """The subscription an invoice belongs to."""
    parent = obj.get("parent") or {}
    return (parent.get("subscription_details") or {}).get("subscription")


def find_external_id(obj: dict) -> str | None:
    """The caller's own id in the metadata, for the log: the field that names an id, or the first one."""
    found = obj.get("metadata") or {}
    for name in ("external_id", "order_id", "invoice_no"):
        if name in found:
            return found[name]
    return next((value for key, value in found.items() if key.endswith("_id")), None)
