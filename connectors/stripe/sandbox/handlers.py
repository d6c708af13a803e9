"""Handlers that many objects have in common: reading, listing, searching, deleting, the end of an update."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.core import StripeCore
from connectors.stripe.sandbox.lists import list_objects, search_objects


def update_object(stripe: StripeCore, request: Request, obj: dict, given: dict[str, Any], event: str) -> Answer:
    """Apply an update's parameters, metadata merged, with its event and log entry."""
    if "metadata" in given:
        given["metadata"] = forms.merge_metadata(obj["metadata"], given["metadata"])
    stripe.change(obj, event, **given)
    return stripe.answer(request, obj, effect="updated")


def read_object(type: str) -> Any:
    """The handler of GET /things/{id}."""

    def read(stripe: StripeCore, request: Request) -> Answer:
        obj = stripe.store.get(type, request.params["id"])
        if obj is not None and obj.get("deleted"):
            return Answer(200, obj)
        return stripe.answer(request, stripe.fetch(type, request.params["id"]))

    return read


def list_of(type: str, *filters: str, **options: Any) -> Any:
    """The handler of GET /things."""

    def read(stripe: StripeCore, request: Request) -> Answer:
        return list_objects(stripe, request, type, filters=filters, **options)

    return read


def search_of(type: str) -> Any:
    """The handler of GET /things/search."""

    def read(stripe: StripeCore, request: Request) -> Answer:
        return search_objects(stripe, request, type)

    return read


def delete_object(type: str, event: str) -> Any:
    """The handler of DELETE /things/{id}: afterwards only its id and `deleted` are left."""

    def delete(stripe: StripeCore, request: Request) -> Answer:
        obj = stripe.fetch(type, request.params["id"])
        stripe.emit(event, obj)
        left = {"id": obj["id"], "object": type, "deleted": True}
        stripe.store.put(type, obj["id"], left)
        stripe.note(request, left, "deleted")
        return Answer(200, left)

    return delete
