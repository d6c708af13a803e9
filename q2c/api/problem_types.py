"""The sorts of problems that the API answers with: what each means, and what the caller does about it. They're shown
under the address that every problem names as its `type`."""

from __future__ import annotations

from dataclasses import dataclass

TYPES = "/api/v1/problems/"


@dataclass(frozen=True)
class ProblemType:
    """One sort of problem. Its code is stable."""

    status: int
    means: str
    remedy: str


CATALOGUE = {
    "malformed": ProblemType(
        400, "The request can't be read: its body isn't JSON, or a parameter isn't what it must be.",
        "Repair what `errors` or `detail` names, and send it again."),
    "idempotency-key-missing": ProblemType(
        400, "A request that makes something came without the header Idempotency-Key.",
        "Choose a key for each thing that you want made, such as a UUID, keep it, and send it with every try."),
    "idempotency-key-malformed": ProblemType(
        400, "The Idempotency-Key is empty, too long, or has characters that a header can't have.",
        "Send 1 to 255 visible characters, such as a UUID."),
    "not-authenticated": ProblemType(
        401, "The request has no bearer token, or one that isn't valid any more.",
        "Ask /o/token/ for a token with your client's credentials, and send it as Authorization: Bearer."),
    "not-permitted": ProblemType(
        403, "The client doesn't have the scope that WWW-Authenticate names.",
        "Ask an administrator of the portal to give the client that scope."),
    "not-found": ProblemType(
        404, "There is no such address, or no such thing among what the client sees.",
        "Check the id. What belongs to other legal entities looks the same as what doesn't exist."),
    "method-not-allowed": ProblemType(
        405, "The address doesn't take this method.", "Use one of those that the header Allow names."),
    "not-acceptable": ProblemType(
        406, "Only JSON is given here.", "Ask for application/json, or leave Accept out."),
    "idempotency-in-progress": ProblemType(
        409, "The first request with this Idempotency-Key still runs.",
        "Wait as long as Retry-After says, and send the same request with the same key."),
    "too-large": ProblemType(
        413, "The body is larger than a request may be.", "Send less at once."),
    "unsupported-media-type": ProblemType(
        415, "The body isn't of a media type that is taken here.", "Send application/json."),
    "validation": ProblemType(
        422, "The request can be read, but what it asks for isn't complete or not allowed.",
        "Repair the fields that `errors` names, each with its remedy, and send it again with a new Idempotency-Key."),
    "idempotency-key-reused": ProblemType(
        422, "The Idempotency-Key was used for another request.",
        "Use a new key for another request; the same key only to send the same request again."),
    "not-repostable": ProblemType(
        422, "A case of this kind isn't reposted by a machine: it wants another resolution, or a second person.",
        "Resolve it in the portal."),
    "too-many-requests": ProblemType(
        429, "The client sends more than it may.", "Wait as long as Retry-After says."),
    "refused": ProblemType(
        400, "The request was refused for a reason that `detail` gives.", "Do what `detail` says."),
    "internal": ProblemType(
        500, "Something went wrong in the portal. Nothing was stored.", "Give the correlation_id to support."),
    "unavailable": ProblemType(
        503, "The portal's database doesn't answer.",
        "Send the same request with the same Idempotency-Key after the seconds that Retry-After says."),
}  # fmt: skip
