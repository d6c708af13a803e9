"""The webhook door: who is let in, what is answered, and what a broken world does to it."""

import hashlib
import hmac
import io
import json

import psycopg
import pytest
from django.db import connection
from django.test import Client
from prometheus_client import REGISTRY

from connectors.families import Family, Polled
from connectors.manifest import Limits, Manifest, Repeats, WebhookDoor
from connectors.models import Connection
from connectors.registry import store_secrets
from connectors.signatures import Refused, check_hmac
from q2c.api import door, webhooks
from q2c.inbox.bodies import read_headers
from q2c.inbox.models import InboundEvent, InboundKey, Refusal
from q2c.transactions.workers import connection_parameters

LIMIT = 1_048_576


def verify(body, headers, query, secrets, settings, now):
    """The HMAC of the body under the connection's secret, or under the one before."""
    if "x-sign" not in headers:
        raise Refused("missing", "the header X-Sign is missing")
    check_hmac(body, [headers["x-sign"]], [secrets[n] for n in ("secret", "secret_previous") if secrets.get(n)])


def split(body, headers):
    """One message of several events, each with its own id."""
    return [Polled(e["type"], e["about"], e["id"], json.dumps(e).encode()) for e in json.loads(body)["events"]]


ACK = (202, "text/xml", "<Ack>true</Ack>")
MANIFEST = Manifest(
    code="acme", name="Acme", families=(Family.BILLING,), settings=(), limits=Limits(at_once=1), repeats=Repeats(),
    errors=(), webhook=WebhookDoor(verify=verify, acknowledge=ACK, split=split),
)  # fmt: skip


@pytest.fixture
def acme(db, monkeypatch):
    """The connection `acme` with one secret; nudges are counted."""
    monkeypatch.setattr(door.registry, "manifest", lambda code: MANIFEST)
    nudges = []
    monkeypatch.setattr(door, "nudge_inbox", lambda: nudges.append(1))
    door.forget_connections()
    row = Connection.objects.create(code="acme", name="Acme", vendor="acme", base_url="http://127.0.0.1:1")
    store_secrets(row, {"secret": "s1"})
    row.nudges = nudges
    yield row
    door.forget_connections()


def message(*ids):
    return json.dumps({"events": [{"type": "made", "about": f"o{i}", "id": i} for i in ids]}).encode()


def sign(body, secret="s1"):
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post(body, path="/webhooks/acme/", secret="s1", **headers):
    return Client().post(path, body, content_type="application/json", headers={"X-Sign": sign(body, secret), **headers})


def test_a_signed_message_is_stored_before_the_vendors_own_acknowledgement(acme):
    answer = post(message("a", "b"), Cookie="sessionid=1")
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (202, b"<Ack>true</Ack>", "text/xml")
    assert sorted(InboundKey.objects.values_list("dedupe_key", flat=True)) == ["a", "b"]
    event, key = InboundEvent.objects.first(), InboundKey.objects.first()
    assert "x-sign" in read_headers(event, key)
    assert "cookie" not in read_headers(event, key)
    assert acme.nudges == [1]


def test_a_duplicate_is_acknowledged_like_the_first(acme):
    assert [post(message("a")).status_code for _ in range(3)] == [202, 202, 202]
    assert InboundKey.objects.get().duplicate_count == 2
    assert InboundEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("path", "body", "secret", "headers", "status", "reason"),
    [
        ("/webhooks/acme/", message("a"), "wrong", {}, 401, "signature"),
        ("/webhooks/acme/", message("a"), "s1", {"X-Sign": ""}, 401, "signature"),
        ("/webhooks/nobody/", message("a"), "s1", {}, 404, "connection"),
        ("/webhooks/acme%00/", message("a"), "s1", {}, 404, "connection"),
        ("/webhooks/acme/", b"{not json", "s1", {}, 400, "malformed"),
        ("/webhooks/acme/", b"[]", "s1", {}, 400, "malformed"),
        ("/webhooks/acme/", b'{"events": []}', "s1", {}, 400, "malformed"),
        ("/webhooks/acme/", b"\xff\xfe\x00", "s1", {}, 400, "malformed"),
        ("/webhooks/acme/", b"", "s1", {}, 400, "malformed"),
        ("/webhooks/acme/", b"x" * (LIMIT + 1), "s1", {}, 413, "size"),
    ],
)
def test_what_is_not_let_in_gets_its_status_and_is_counted(acme, path, body, secret, headers, status, reason):
    assert post(body, path, secret, **headers).status_code == status
    refusal = Refusal.objects.get()
    assert (refusal.reason, refusal.count) == (reason, 1)
    assert refusal.connection_code == ("" if status == 404 else "acme")
    assert not InboundKey.objects.exists()


def test_a_get_is_told_to_post(acme):
    answer = Client().get("/webhooks/acme/")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_a_connection_without_a_webhook_door_is_not_found(acme, monkeypatch):
    monkeypatch.setattr(door.registry, "manifest", lambda code: (_ for _ in ()).throw(LookupError(code)))
    assert post(message("a")).status_code == 404


@pytest.mark.scenario(20)
def test_a_rotated_secret_counts_at_once_and_the_previous_one_while_it_is_kept(acme, monkeypatch):
    assert post(message("a")).status_code == 202
    monkeypatch.setattr(door, "ASKED_AGAIN_SECONDS", 0.0)
    store_secrets(acme, {"secret": "s2", "secret_previous": "s1"})
    assert post(message("b"), secret="s2").status_code == 202
    assert post(message("c"), secret="s1").status_code == 202


def test_a_proof_that_crashes_its_reader_is_no_proof(acme, monkeypatch):
    def crash(*args):
        raise TypeError("strange header")

    broken = WebhookDoor(verify=crash, split=split)
    monkeypatch.setattr(door.registry, "manifest", lambda code: Manifest(**{**vars(MANIFEST), "webhook": broken}))
    assert post(message("a")).status_code == 401


def test_a_message_that_cannot_be_read_is_malformed_even_where_the_proof_lies_in_it(acme, monkeypatch):
    def reads_the_body(body, headers, query, secrets, settings, now):
        try:
            json.loads(body)
        except ValueError as error:
            raise Refused("malformed", "no JSON") from error
        raise Refused("malformed", "no timestamp")

    broken = WebhookDoor(verify=reads_the_body, split=split)
    monkeypatch.setattr(door.registry, "manifest", lambda code: Manifest(**{**vars(MANIFEST), "webhook": broken}))
    assert post(b"{").status_code == 400
    assert post(message("a")).status_code == 401


def test_while_the_database_is_away_nothing_is_acknowledged(acme, monkeypatch):
    assert post(message("a")).status_code == 202

    def away(*args, **kwargs):
        raise psycopg.OperationalError("the server closed the connection")

    monkeypatch.setattr(door, "receive", away)
    answer = post(message("b"))
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


def test_the_secret_of_the_address_reaches_the_proof(acme, monkeypatch):
    seen = {}
    knocked = WebhookDoor(verify=lambda body, headers, query, *rest: seen.update(query), split=split)
    monkeypatch.setattr(door.registry, "manifest", lambda code: Manifest(**{**vars(MANIFEST), "webhook": knocked}))
    post(message("a"), "/webhooks/acme/opensesame/?org=7")
    assert seen == {"path_secret": "opensesame", "org": "7"}


def call(application, path="/webhooks/acme/", body=b"", *, length=True, method="POST", **environ):
    started = []
    environ |= {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "wsgi.input": io.BytesIO(body)}
    if length:
        environ["CONTENT_LENGTH"] = str(len(body))
    answer = b"".join(application(environ, lambda status, headers: started.append((status, dict(headers)))))
    return started[0][0], started[0][1], answer


def test_the_server_answers_webhooks_past_all_middleware(acme):
    application = webhooks.past_middleware(lambda environ, start: (start("200 OK", []), [b"django"])[1])
    body = message("a")
    status, headers, answer = call(application, body=body, HTTP_X_SIGN=sign(body), length=False)
    assert (status, headers["Content-Type"], answer) == ("202 Accepted", "text/xml", b"<Ack>true</Ack>")
    assert call(application, "/transactions/")[2] == b"django"
    assert call(application, body=body)[0] == "401 Unauthorized"


def test_webhooks_are_counted_and_timed_with_all_other_requests(acme, monkeypatch):
    application = webhooks.past_middleware(lambda environ, start: [])

    def counted(status):
        labels = {"view": "webhook", "method": "POST", "status": status}
        return REGISTRY.get_sample_value("q2c_http_requests_total", labels) or 0

    def timed():
        return REGISTRY.get_sample_value("q2c_http_request_seconds_count", {"view": "webhook"}) or 0

    before, times = [counted(status) for status in ("202", "401", "500")], timed()
    body = message("a")
    call(application, body=body, HTTP_X_SIGN=sign(body))
    call(application, body=body)
    monkeypatch.setattr(webhooks, "answer_webhook", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call(application, body=body)
    assert [counted(status) for status in ("202", "401", "500")] == [n + 1 for n in before]
    assert timed() == times + 3


def test_a_body_without_a_length_is_read_no_further_than_the_limit(acme):
    application = webhooks.past_middleware(lambda environ, start: [])
    seen = []

    class Endless:
        def read(self, size):
            seen.append(size)
            return b"x" * size

    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/webhooks/acme/", "wsgi.input": Endless()}
    started = []
    list(application(environ, lambda status, headers: started.append(status)))
    assert started == ["413 Request Entity Too Large"]
    assert sum(seen) == LIMIT + 1


def test_accepting_takes_one_statement(acme, monkeypatch):
    post(message("a"))
    statements, plain = [], psycopg.Cursor.execute

    def execute(self, query, *args, **kwargs):
        statements.append(query)
        return plain(self, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.Cursor, "execute", execute)
    body = message("b")
    application = webhooks.past_middleware(lambda environ, start: [])
    assert call(application, body=body, HTTP_X_SIGN=sign(body))[0] == "202 Accepted"
    assert len(statements) == 1


@pytest.mark.django_db(transaction=True)
def test_a_message_after_a_restart_of_the_database_is_stored_by_the_same_thread(acme, monkeypatch):
    forget = [door.forget_connections, lambda: None]
    for id, prepare in zip(("a", "b"), forget, strict=True):  # before it is known who sends, and afterwards
        prepare()
        ours = connection.connection.info.backend_pid
        with psycopg.connect(**connection_parameters(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [ours])
        assert post(message(id)).status_code == 202
    assert InboundEvent.objects.count() == 2


def test_connections_forgotten_by_another_thread_between_two_looks_are_read_again(acme, monkeypatch):
    """Threads share what is remembered: a look that finds it there must not need to find it again."""

    class Forgetful(dict):
        def get(self, *asked):
            found = super().get(*asked)
            door.forget_connections()  # as another thread does, after any single look
            return found

    assert post(message("a")).status_code == 202
    for name, kept in [(name, kept) for name, kept in vars(door).items() if isinstance(kept, dict)]:
        if name in ("_known", "_until"):
            monkeypatch.setattr(door, name, Forgetful(kept))
    assert [post(message(id)).status_code for id in ("b", "c")] == [202, 202]
