"""What every request gets: a correlation id, and pages that no cache keeps."""

import structlog

from q2c.core.ids import uuid7


def correlation(get_response):
    """Binds a correlation id to the log context and returns it in X-Correlation-Id."""

    def middleware(request):
        structlog.contextvars.clear_contextvars()
        request.correlation_id = str(uuid7())
        structlog.contextvars.bind_contextvars(correlation_id=request.correlation_id)
        response = get_response(request)
        response.headers.setdefault("X-Correlation-Id", request.correlation_id)
        return response

    return middleware


def no_store(get_response):
    """Finance pages are never stored by a cache (ASVS 14.3.2)."""

    def middleware(request):
        response = get_response(request)
        if not request.path.startswith("/static/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return middleware
