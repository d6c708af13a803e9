"""The only list of URL prefixes: which room answers where."""

from django.contrib import admin
from django.urls import include, path
from oauth2_provider import views as oauth

from q2c.api import health, problems, webhooks

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("webhooks/<path:address>", webhooks.webhook, name="webhook"),
    path("api/v1/", include("q2c.api.urls")),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    # Of the provider only its token doors: registering clients is an admin's deed, never a page of the portal.
    path("o/token/", oauth.TokenView.as_view(), name="token"),
    path("o/revoke_token/", oauth.RevokeTokenView.as_view(), name="revoke-token"),
    path("exceptions/", include("exceptions.workbench.urls")),
    path("mappings/", include("mappings.workbench.urls")),
    path("connections/", include("connectors.console.urls")),
    path("", include("q2c.portal.urls")),
]

handler400 = problems.bad_request
handler500 = problems.server_error
