"""The reference of the webhook door: a Django view with one plain insert, and nothing else."""

import os

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import re_path

TABLE = "CREATE TABLE IF NOT EXISTS bench_raw (id bigserial PRIMARY KEY, received_at timestamptz, body bytea)"


def insert_body(request: HttpRequest) -> HttpResponse:
    """Store the body, committed, and say so."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bench_raw (received_at, body) VALUES (now(), %s)", [request.body])
    return HttpResponse(b"{}", content_type="application/json")


urlpatterns = [re_path(r"^webhooks/", insert_body)]


def start() -> WSGIHandler:
    """The WSGI application: the portal's settings, none of its middleware, this module's one address."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "q2c.settings")
    django.setup()
    settings.MIDDLEWARE, settings.ROOT_URLCONF = [], __name__
    return WSGIHandler()
