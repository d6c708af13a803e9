"""A form is carried out once: a double click, a reload or a second try after a lost answer finds what was done.

Every form that changes something carries a key (`{% form_key %}`), new for each time it's shown. The key and what was
entered together name the request, so that a form that went back, was changed and sent again is another request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from q2c.core.ids import digest
from q2c.inbox.once import Accepted, answer_once

FIELD = "form_key"
KEY_MAX = 64
SAID = "You had sent this already: it was done once, at the first click."


class FormsOnce:
    """Middleware: a keyed form sent by somebody who is signed in runs once; the second time shows what came of it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Nothing here: the view and its permission are known only in `process_view`."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Carry out a keyed form of a screen, or lead to what the first one came to. Other requests pass."""
        if request.method != "POST" or not hasattr(view, "permission") or not request.user.is_authenticated:
            return None
        key = request.POST.get(FIELD, "")
        if not 0 < len(key) <= KEY_MAX:
            return None
        shown: list[HttpResponse] = []

        def effect() -> Accepted | None:
            response = view(request, *args, **kwargs)
            shown.append(response)
            if response.status_code not in (204, 302, 303) or getattr(response, "was_refused", False):
                return None  # refused or to be corrected: judged anew
            return Accepted(response.status_code, dict(_events(response)), response.get("Location", ""))

        print_ = entered(request)
        accepted = answer_once(
            client_id=f"person {request.user.pk}", route=f"POST {request.path}"[:100], key=f"{key} {print_}",
            print_=print_, effect=effect, waits=True,
        )  # fmt: skip
        if shown:
            return shown[0]
        assert accepted is not None  # nothing ran, so an answer was stored
        messages.success(request, SAID, extra_tags="done")
        if accepted.location:
            return HttpResponseRedirect(accepted.location, status=303)
        return HttpResponse(status=accepted.status, headers=accepted.body)


def entered(request: HttpRequest) -> str:
    """The hash of what was entered: all fields but the token and the key, and every file."""
    fields = sorted((k, *request.POST.getlist(k)) for k in request.POST if k not in (FIELD, "csrfmiddlewaretoken"))
    for name in sorted(request.FILES):
        for file in request.FILES.getlist(name):
            fields.append((name, str(file.name), hashlib.file_digest(file, "sha256").hexdigest()))
            file.seek(0)
    return digest("form", *(part for field in fields for part in (str(len(field)), *field)))


def _events(response: HttpResponse) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.items() if name == "HX-Trigger"]
