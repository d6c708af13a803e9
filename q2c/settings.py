"""Every deployment value comes from the environment; this file says how it is used.

Loads without a database URL (type checks and lint read it) and starts nothing.
"""

import os
from pathlib import Path
from typing import Any

from q2c.core import secrets_home, sign_on
from q2c.core.brokers import cache_of, celery_of
from q2c.core.databases import database
from q2c.core.logs import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent

ENV = os.environ.get("Q2C_ENV", "production")  # production, demo, test
IS_DEMO = ENV in ("demo", "test")
HOME = Path(os.environ.get("Q2C_HOME", ".q2c")).absolute()
PORT = int(os.environ.get("Q2C_PORT", "8000"))
SANDBOX_PORT = int(os.environ.get("Q2C_SANDBOX_PORT", "8900"))
BASE_URL = os.environ.get("Q2C_BASE_URL") or f"http://127.0.0.1:{PORT}"

SECRET_KEY = secrets_home.secret_key(HOME, ENV)
VAULT_KEYS = secrets_home.vault_keys(HOME, ENV)  # newest first; the first one seals
ARE_VAULT_KEYS_MADE_UP = secrets_home.are_vault_keys_made_up()
ANCHOR_FILE = os.environ.get("Q2C_ANCHOR_FILE", "")  # of the audit chain; in production under another administrator
# Where months are archived before they are dropped: a directory that every host of the portal sees, backed up.
ARCHIVE = os.environ.get("Q2C_ARCHIVE", str(HOME / "archive") if IS_DEMO else "")
CLAMD = os.environ.get("Q2C_CLAMD", "")  # host:port or unix:/path; without one files aren't scanned
DEBUG = os.environ.get("Q2C_DEBUG") == "1"
ALLOWED_HOSTS = [h for h in os.environ.get("Q2C_ALLOWED_HOSTS", "").split(",") if h]
if IS_DEMO:
    ALLOWED_HOSTS += ["127.0.0.1", "localhost", "testserver"]
CSRF_TRUSTED_ORIGINS = [o for o in os.environ.get("Q2C_TRUSTED_ORIGINS", "").split(",") if o]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "bootstrap",
    "django_htmx",
    "django_filters",
    "django_celery_beat",
    "simple_history",
    "pgtrigger",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "oauth2_provider",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "q2c.core",
    "q2c.inbox",
    "q2c.records",
    "q2c.outbox",
    "q2c.transactions",
    "q2c.reconciliation",
    "q2c.demo",
    "connectors",
    "mappings",
    "exceptions",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "q2c.core.middleware.ZippedPages",
    "q2c.core.middleware.correlation",
    "q2c.core.middleware.measure",
    "q2c.api.health.by_any_name",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "q2c.core.middleware.person_zone",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "q2c.core.middleware.end_when_idle",
    "allauth.account.middleware.AccountMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "q2c.core.middleware.no_store",
    "q2c.portal.once.FormsOnce",
]

ROOT_URLCONF = "q2c.urls"
WSGI_APPLICATION = "q2c.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "q2c.core.shell.shell",
                "q2c.portal.closing.clock",
            ]
        },
    }
]


# The portal runs as a role that doesn't own the tables; migrations use the owner (ARCHITECTURE section 11).
DATABASE_URL = os.environ.get("DATABASE_URL", "")
DATABASE_OWNER_URL = os.environ.get("DATABASE_OWNER_URL", DATABASE_URL)
OWNER_COMMANDS = os.environ.get("Q2C_AS_OWNER") == "1"
POOLER = os.environ.get("Q2C_POOLER", "")  # "transaction": DATABASE_URL leads through PgBouncer; the owner's never does
DATABASES = {
    "default": database(DATABASE_OWNER_URL) if OWNER_COMMANDS else database(DATABASE_URL, pooler=POOLER),
}
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
LOGGING = logging_config(ENV, os.environ.get("Q2C_LOG_LEVEL") or "INFO")
CACHES = {"default": cache_of(REDIS_URL)}

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "core.Person"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_ADAPTER = "q2c.core.people.ClosedDoorAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ALLAUTH_TRUSTED_PROXY_COUNT = int(os.environ.get("Q2C_PROXIES") or ("0" if IS_DEMO else "1"))  # who is throttled
SOCIALACCOUNT_ADAPTER = "q2c.core.people.KnownPeopleAdapter"
SOCIALACCOUNT_PROVIDERS = sign_on.providers(os.environ)
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE, SESSION_IDLE_SECONDS = 12 * 3600, 30 * 60
if not IS_DEMO:
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"  # no subdomain can set them
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

EMAIL_HOST = os.environ.get("Q2C_EMAIL_HOST") or "localhost"
EMAIL_PORT = int(os.environ.get("Q2C_EMAIL_PORT") or "587")
EMAIL_HOST_USER = os.environ.get("Q2C_EMAIL_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("Q2C_EMAIL_PASSWORD", "")
EMAIL_USE_TLS, EMAIL_TIMEOUT = True, 15
DEFAULT_FROM_EMAIL = os.environ.get("Q2C_EMAIL_FROM") or "portal@localhost"
if IS_DEMO and "Q2C_EMAIL_HOST" not in os.environ:  # nobody is written to: the mails are files
    EMAIL_BACKEND, EMAIL_FILE_PATH = "django.core.mail.backends.filebased.EmailBackend", str(HOME / "mail")

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = os.environ.get("Q2C_STATIC_ROOT") or HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if ENV == "test"
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'", *sign_on.origins(os.environ)],  # a sign-in is sent on to the identity provider
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576  # the webhook door refuses more than 1 MB, streamed
SIMPLE_HISTORY_HISTORY_CHANGE_REASON_USE_TEXT_FIELD = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["q2c.api.callers.BearerHeader"],
    "DEFAULT_PERMISSION_CLASSES": ["q2c.api.callers.HasScope"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "q2c.api.problems.problem_details",
    "COERCE_DECIMAL_TO_STRING": True,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Quote to cash",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "PREPROCESSING_HOOKS": ["q2c.api.schema.without_twins"],
}
OAUTH2_PROVIDER_APPLICATION_MODEL = "oauth2_provider.Application"
OAUTH2_PROVIDER: dict[str, Any] = {
    "SCOPES": {
        "orders:write": "Submit orders",
        "transactions:read": "Read transactions and bill runs, trace documents",
        "cards:read": "Read where a document stands",
        "cases:read": "Read exception cases",
        "cases:repost": "Repost held transactions",
    },
    "SCOPES_BACKEND_CLASS": "q2c.api.callers.ClientScopes",
    "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
    "PKCE_REQUIRED": True,
}

CELERY_BROKER_URL, _transport = celery_of(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 60, **_transport}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_DB_REUSE_MAX = 1000
CELERY_TASK_DEFAULT_QUEUE = "flows"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "q2c.flows.beat:OneBeatScheduler"
CELERY_TASK_ROUTES = {
    "q2c.inbox.*": {"queue": "doors"},
    "q2c.reconciliation.*": {"queue": "reconciliation"},
    "q2c.core.*": {"queue": "reconciliation"},
    "mappings.*": {"queue": "reconciliation"},
    "exceptions.tasks.gather_evidence": {"queue": "reconciliation"},
    "q2c.flows.tasks.poll": {"queue": "doors"},
    "q2c.flows.tasks.refresh_lists": {"queue": "doors"},
    "q2c.flows.tasks.forget_answers": {"queue": "reconciliation"},
}

METRICS_TOKEN = os.environ.get("Q2C_METRICS_TOKEN", "")
REPORTING_CURRENCY = os.environ.get("Q2C_REPORTING_CURRENCY") or "EUR"
PRODUCT_NAME = "Quote to cash"
