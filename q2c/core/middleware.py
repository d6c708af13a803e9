"""What every request gets: a correlation id, a measurement, the person's time zone, and pages that no cache keeps."""

import time

import structlog
from django.conf import settings
from django.contrib.auth import logout
from django.middleware.gzip import GZipMiddleware
from django.utils import timezone

from q2c.core import access, people, tracing
from q2c.core.ids import uuid7
from q2c.core.metrics import count_request

WRITTEN_AFTER_SECONDS = 60
SEEN_AT, SIGNED_IN_AT = "seen_at", "signed_in_at"  # of a session: seconds since 1970
BY_ITSELF = "X-By-Itself"  # what app.js sends with a request that no person caused


def correlation(get_response):
    """Binds a correlation id to the log context and returns it in X-Correlation-Id."""

    def middleware(request):
        structlog.contextvars.clear_contextvars()
        request.correlation_id = str(uuid7())
        structlog.contextvars.bind_contextvars(correlation_id=request.correlation_id)
        span = tracing.span(request.method, kind="server", correlation_id=request.correlation_id, is_first=True)
        with span as own:
            response = get_response(request)
            tracing.tell_answer(own, view=view_of(request), status=response.status_code)
        response.headers.setdefault("X-Correlation-Id", request.correlation_id)
        return response

    return middleware


def view_of(request):
    """The name of the view that answers, never the path: paths hold ids."""
    return request.resolver_match.view_name or "unnamed" if request.resolver_match else "none"


def measure(get_response):
    """Counts and times answers by view, never by path: paths hold ids."""

    def middleware(request):
        start = time.perf_counter()
        response = get_response(request)
        count_request(view_of(request), request.method, response.status_code, time.perf_counter() - start)
        return response

    return middleware


def end_when_idle(get_response):
    """Signs out whoever asked for nothing for half an hour (ASVS 7.3.1), and everybody twelve hours after signing in
    (7.3.2), however busy they are. What a page asks for by itself, such as the news of a case every few seconds, keeps
    nobody signed in. The time is written at most once a minute."""

    def middleware(request):
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or not request.user.is_authenticated:
            return get_response(request)
        now = int(time.time())
        seen = request.session.get(SEEN_AT)
        if (why := _is_over(request.session, now)) is not None:
            logout(request)
            return access.ask_to_sign_in(request, why=why)
        if SIGNED_IN_AT not in request.session:  # of the last release: counted from its first sight
            request.session[SIGNED_IN_AT] = now
        if BY_ITSELF not in request.headers and (seen is None or now - seen >= WRITTEN_AFTER_SECONDS):
            request.session[SEEN_AT] = now
        return get_response(request)

    return middleware


def _is_over(session, now):
    """Why a session has ended, as the sign-in page is told it; None: it hasn't. Each request that writes the session
    also moves its row's own end, so twelve hours are counted here."""
    if now - session.get(SIGNED_IN_AT, now) > settings.SESSION_COOKIE_AGE:
        return "long"
    return "idle" if now - session.get(SEEN_AT, now) > settings.SESSION_IDLE_SECONDS else None


def begin_to_count(sender, request, user, **rest):
    """Somebody signs in: from now on the time since, and the time without a request, count."""
    request.session[SIGNED_IN_AT] = request.session[SEEN_AT] = int(time.time())


def person_zone(get_response):
    """Times are read and shown in the zone that the person chose; in UTC for whoever chose none."""

    def middleware(request):
        if settings.SESSION_COOKIE_NAME not in request.COOKIES:  # machines have no zone, and nobody is looked up
            return get_response(request)
        with timezone.override(people.zone_of(request.user)):
            return get_response(request)

    return middleware


def no_store(get_response):
    """Finance pages are never stored by a cache (ASVS 14.3.2)."""

    def middleware(request):
        response = get_response(request)
        if not request.path.startswith("/static/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return middleware


class ZippedPages(GZipMiddleware):
    """Pages go out compressed, padded at random against guessing by length (BREACH); the tokens of forms are masked
    anew in each. Machines' answers and files stay as they are: small, or compressed already."""

    def process_response(self, request, response):
        """The page, compressed where the browser takes that."""
        is_page = response.get("Content-Type", "").startswith("text/html")
        return super().process_response(request, response) if is_page else response
