"""How the web server starts."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "q2c.settings")
application = get_wsgi_application()

from q2c.core.checks import refuse_unsafe_start  # noqa: E402 - Django must be set up first

refuse_unsafe_start()
