"""What the database's URL says holds for every session: Django's, the worker's beat and the owner's."""

import traceback

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.db.utils import ConnectionHandler
from psycopg import conninfo

from q2c.core.databases import PEER_GONE, database
from q2c.transactions import workers

WHERE = "postgresql://app:s%40cret@db1:5432,db2:5433/q2c"


def sessions_of(url, **more):
    """What Django connects by, and what the worker's beat does."""
    own = ConnectionHandler({"default": database(url, **more)})["default"]
    params = own.get_connection_params()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "connection", own)
        return params, workers.connection_parameters()


@pytest.mark.parametrize("pooler", ["", "transaction"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sslmode", "verify-full"),
        ("sslrootcert", "/etc/ssl/own.pem"),
        ("sslcert", "/etc/ssl/client.pem"),
        ("sslkey", "/etc/ssl/client.key"),
        ("channel_binding", "require"),
        ("target_session_attrs", "read-write"),
        ("hostaddr", "10.0.0.1,10.0.0.2"),
        ("options", "-c statement_timeout=90000"),
        ("keepalives_idle", "30"),
        ("tcp_user_timeout", "5000"),
    ],
)
def test_each_parameter_of_the_url_holds_for_every_session(name, value, pooler):
    url = f"{WHERE}?{name}={value.replace(' ', '%20').replace('=', '%3D')}"
    for params in sessions_of(url, pooler=pooler):
        assert params[name] == value
        assert {n: params[n] for n in ("host", "port", "user", "password", "dbname")} == {
            "host": "db1,db2", "port": "5432,5433", "user": "app", "password": "s@cret", "dbname": "q2c",
        }  # fmt: skip
        assert ("prepare_threshold" in params, params["prepare_threshold"] is None) == (True, bool(pooler))


def test_without_any_the_portals_own_are_taken():
    django, beat = sessions_of("postgresql://app@/q2c?host=/run/postgresql&application_name=ours")
    assert {name: django[name] for name in PEER_GONE} == PEER_GONE
    assert (django["host"], django["application_name"]) == ("/run/postgresql", "ours")
    assert (beat["application_name"], beat["connect_timeout"]) == ("Quote to cash beat", 3)
    assert database("")["NAME"] == "q2c"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"{WHERE}?ssl-mode=require", "libpq knows no parameter ssl-mode"),
        ("host=db1 dbname=q2c sslmod=require", "libpq knows no parameter sslmod"),
        (f"{WHERE}?service=q2c", "names a service: give host, database and role in the URL"),
        ("postgresql://app:se%cret@db1/q2c", "in a password / @ : # \\? % are written %2F %40"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_with_a_word_and_never_its_password(url, says):
    with pytest.raises(ImproperlyConfigured, match=says) as refused:
        database(url)
    assert "cret" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.django_db
def test_a_real_server_that_is_not_what_the_url_asks_for_is_not_talked_to(settings):
    asked = conninfo.conninfo_to_dict(settings.DATABASE_URL)
    assert "target_session_attrs" not in asked
    between = "&" if "?" in settings.DATABASE_URL else "?"
    only_standby = database(f"{settings.DATABASE_URL}{between}target_session_attrs=standby")
    with pytest.raises(OperationalError, match="standby"):
        ConnectionHandler({"default": only_standby})["default"].ensure_connection()
