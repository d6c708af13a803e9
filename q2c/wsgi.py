"""How the web server starts."""

import os
from wsgiref.types import WSGIApplication

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "q2c.settings")
application: WSGIApplication = get_wsgi_application()

from q2c.api.webhooks import past_middleware  # noqa: E402 - Django must be set up first
from q2c.core.checks import refuse_unsafe_start  # noqa: E402

refuse_unsafe_start()
application = past_middleware(application)  # webhooks need no session, no cookie, no page
