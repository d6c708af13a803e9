"""The control door, fault by fault, and what a `kill -9` leaves: proved on Stripe's sandbox."""

import json
import time

import pytest
import requests

from connectors.sandbox.testing import find_free_ports, running_sandboxes


@pytest.fixture
def post(box):
    """A POST to the sandbox without retries or pooled connections."""
    vendor = box.vendor("stripe")
    headers = {"Authorization": f"Bearer {vendor['credentials']['api_key']}"}

    def send(path, timeout=60, **form):
        return requests.post(f"{vendor['url']}{path}", data=form, headers=headers, timeout=timeout)

    return send


def test_the_door_shows_each_vendors_address_and_credentials(box):
    vendor = box.vendor("stripe")
    assert vendor["url"] == f"http://127.0.0.1:{box.port + 1}"
    assert sorted(vendor["credentials"]) == ["api_key", "webhook_secret"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({}, 415),
        ({"Content-Type": "application/json", "Host": "portal.example"}, 403),
    ],
)
def test_writes_need_json_and_a_local_host_name(box, headers, status):
    answer = requests.post(f"{box.control_url}/_control/clock", data='{"reset": true}', headers=headers, timeout=60)
    assert answer.status_code == status
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["customers/{id}", "search?query={id}", "app/common/entity/custjob.nl?id={id}", "{id}"]
)
def test_a_link_into_a_vendors_screens_shows_the_record(box, path):
    (customer,) = box.make("stripe", "customer", {"name": "Northwind"})
    answer = requests.get(f"{box.control_url}/_control/stripe/screen/{path.format(id=customer)}", timeout=60)
    assert answer.status_code == 200
    (found,) = answer.json()["found"]
    assert (found["type"], found["record"]["name"]) == ("customer", "Northwind")
    assert requests.get(f"{box.control_url}/_control/stripe/screen/cus_none", timeout=60).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("stripe/faults", {"do": "explode"}),
        ("stripe/faults", {"do": "delay", "when": {"color": "red"}}),
        ("stripe/faults", {"do": "delay", "seconds": "soon"}),
        ("stripe/limits", {"enforced": "yes"}),
        ("stripe/documents/unicorn", {"a": 1}),
        ("stripe/documents/customer", [{}] * 501),
        ("clock", {"now": "2026-01-01T00:00:00"}),
        ("clock", {"now": "9999-06-01T00:00:00Z"}),
        ("clock", {"offset_seconds": 1e12}),
        ("clock", {"offset_seconds": -1e11}),
        ("clock", {"offset_seconds": float("nan")}),
        ("reset", {"vendors": ["nobody"], "keep": "nothing"}),
        ("reset", {"vendors": None, "keep": "everything"}),
    ],
)
def test_a_wrong_order_is_refused_with_400(box, path, body):
    with pytest.raises(requests.HTTPError) as refused:
        box.control("POST", path, body)
    assert refused.value.response.status_code == 400
    assert box.control("GET", "clock")["offset_seconds"] == 0


def test_documents_are_paged_oldest_first(box):
    made = box.make("stripe", "product", *[{"name": f"P{number}"} for number in range(5)])
    first = box.control("GET", "stripe/documents/product?limit=2")
    assert [item["name"] for item in first["items"]] == ["P0", "P1"]
    assert first["next"] == made[1]
    rest = box.control("GET", f"stripe/documents/product?after={first['next']}&limit=10")
    assert ([item["id"] for item in rest["items"]], rest["next"]) == (made[2:], None)


def test_a_batch_is_made_as_a_whole_or_not_at_all(box):
    before = box.control("GET", "stripe/log")["last"]
    with pytest.raises(requests.HTTPError):
        box.control("POST", "stripe/documents/customer", [{"name": "Good"}, {"nonsense": 1}])
    assert box.control("GET", "stripe/log")["last"] == before


def test_the_log_holds_accepted_writes_in_order_and_no_refusals(box, post):
    after = box.control("GET", "stripe/log")["last"]
    made = post("/v1/customers", name="A", **{"metadata[external_id]": "X-1"}).json()
    assert post("/v1/customers", nonsense="1").status_code == 400
    post(f"/v1/customers/{made['id']}", name="B")
    first, second = box.log("stripe", after=after)
    assert first == {
        "n": after + 1,
        "at": first["at"],
        "method": "POST",
        "path": "/v1/customers",
        "document_type": "customer",
        "id": made["id"],
        "external_id": "X-1",
        "idempotency_key": None,
        "replayed": False,
        "effect": "created",
    }
    assert (second["n"], second["effect"], second["path"]) == (after + 2, "updated", f"/v1/customers/{made['id']}")


def test_status_answers_without_running_the_request(box, post):
    after = box.control("GET", "stripe/log")["last"]
    box.fault(
        "stripe",
        "status",
        when={"method": "post", "path": "/v1/cust*", "times": 2},
        status=503,
        headers={"Retry-After": "7"},
    )
    answer = post("/v1/customers", name="A")
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()["error"]["type"]) == (
        503,
        "7",
        "api_error",
    )
    assert post("/v1/customers", name="A").status_code == 503
    assert post("/v1/customers", name="A").status_code == 200
    assert len(box.log("stripe", after=after)) == 1
    assert box.control("GET", "stripe/faults")["faults"][0]["hits"] == 2


def test_a_status_fault_may_bring_its_own_body(box, post):
    box.fault("stripe", "status", when={"nth": 1}, status=500, body={"error": {"type": "api_error", "message": "mine"}})
    assert post("/v1/customers", name="A").json()["error"]["message"] == "mine"


def test_the_nth_match_is_struck_once(box, post):
    box.fault("stripe", "status", when={"nth": 2}, status=500)
    assert [post("/v1/customers", name="A").status_code for _ in range(4)] == [200, 500, 200, 200]


def test_an_external_id_names_the_request_that_is_struck(box, post):
    box.fault("stripe", "status", when={"external_id": "ORD-2"}, status=500)
    answers = [post("/v1/customers", **{"metadata[order_id]": f"ORD-{number}"}).status_code for number in (1, 2, 3)]
    assert answers == [200, 500, 200]


def test_probability_with_a_seed_strikes_the_same_requests_again(box, post):
    outcomes = []
    for _ in range(2):
        box.control("DELETE", "stripe/faults")
        box.fault("stripe", "status", when={"probability": 0.5}, status=500, seed=11)
        outcomes.append([post("/v1/customers", name="A").status_code for _ in range(12)])
    assert outcomes[0] == outcomes[1]
    assert set(outcomes[0]) == {200, 500}


def test_a_lost_answer_was_committed(box, post):
    after = box.control("GET", "stripe/log")["last"]
    box.fault("stripe", "lose_answer", when={"nth": 1})
    with pytest.raises(requests.ConnectionError):
        post("/v1/customers", name="Lost")
    assert [entry["effect"] for entry in box.log("stripe", after=after)] == ["created"]


def test_a_reset_before_was_not_executed(box, post):
    after = box.control("GET", "stripe/log")["last"]
    box.fault("stripe", "reset_before", when={"nth": 1})
    with pytest.raises(requests.ConnectionError):
        post("/v1/customers", name="Reset")
    assert box.log("stripe", after=after) == []


def test_a_truncated_answer_was_committed(box, post):
    after = box.control("GET", "stripe/log")["last"]
    box.fault("stripe", "truncate", when={"nth": 1})
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        post("/v1/customers", name="Half")
    assert len(box.log("stripe", after=after)) == 1


def test_html_with_status_200_was_not_executed(box, post):
    after = box.control("GET", "stripe/log")["last"]
    box.fault("stripe", "html_200", when={"nth": 1})
    answer = post("/v1/customers", name="Html")
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
    assert box.log("stripe", after=after) == []


def test_the_vendors_own_rate_limit_and_expired_key(box, post):
    box.fault("stripe", "rate_limit", when={"nth": 1})
    box.fault("stripe", "expire_token", when={"nth": 2})
    limited, expired = post("/v1/customers"), post("/v1/customers")
    assert (limited.status_code, limited.headers["Stripe-Rate-Limited-Reason"]) == (429, "global-rate")
    assert (expired.status_code, expired.json()["error"]["code"]) == (401, "api_key_expired")


def test_a_delay_outlasts_an_impatient_caller_and_still_commits(box, post):
    after = box.control("GET", "stripe/log")["last"]
    box.fault("stripe", "delay", when={"nth": 1}, seconds=2)
    with pytest.raises(requests.Timeout):
        post("/v1/customers", timeout=0.2, name="Late")
    assert wait_for(lambda: box.log("stripe", after=after))[0]["effect"] == "created"


def test_a_delay_that_is_taken_back_is_over(box, post):
    after, late = box.control("GET", "stripe/log")["last"], box.fault("stripe", "delay", when={"nth": 1}, seconds=600)
    with pytest.raises(requests.Timeout):
        post("/v1/customers", timeout=0.2, name="Late")
    wait_for(lambda: box.control("GET", "stripe/faults")["faults"][0]["hits"])
    assert box.log("stripe", after=after) == []
    box.control("DELETE", f"stripe/faults/{late}")
    assert wait_for(lambda: box.log("stripe", after=after))[0]["effect"] == "created"


def wait_for(look, seconds=60):
    """What a look-up finds once it finds something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it didn't come")


@pytest.fixture
def hooked(box, receiver):
    """The sandbox sends `customer.created` to the receiver."""
    answer = box.control("POST", "stripe/webhooks", {"url": receiver.url, "enabled_events": ["customer.created"]})
    yield receiver
    key = box.vendor("stripe")
    requests.delete(
        f"{key['url']}/v1/webhook_endpoints/{answer['id']}",
        headers={"Authorization": f"Bearer {key['credentials']['api_key']}"},
        timeout=60,
    )


def noted(box):
    """Wait until the sandbox has written down how the deliveries ended that were taken so far."""
    assert wait_for(lambda: box.control("GET", "stripe/deliveries?within=0")["under_way"] == 0)


def named(delivery):
    return json.loads(delivery[1])["data"]["object"]["name"]


def test_webhooks_arrive_twice_when_ordered(box, hooked):
    box.fault("stripe", "webhook_duplicate", when={"nth": 1})
    box.make("stripe", "customer", {"name": "twice"})
    box.make("stripe", "customer", {"name": "once"})
    arrived = [json.loads(hooked.next()[1]) for _ in range(3)]
    assert sorted(event["data"]["object"]["name"] for event in arrived) == ["once", "twice", "twice"]
    assert len({event["id"] for event in arrived}) == 2


def test_a_lost_webhook_never_comes_but_its_event_is_listed_as_undelivered(box, hooked, client):
    box.fault("stripe", "webhook_lose", when={"path": "customer.*", "nth": 1})
    (lost,) = box.make("stripe", "customer", {"name": "lost"})
    box.make("stripe", "customer", {"name": "kept"})
    assert named(hooked.next()) == "kept"
    noted(box)
    undelivered = client.v1.events.list({"type": "customer.created", "delivery_success": False}).data
    assert [event.data.object["id"] for event in undelivered] == [lost]
    assert hooked.received.empty()


def test_reordered_webhooks_change_places(box, hooked):
    box.fault("stripe", "webhook_reorder", when={"nth": 1}, seconds=30)
    box.make("stripe", "customer", {"name": "first"})
    box.make("stripe", "customer", {"name": "second"})
    assert [named(hooked.next()), named(hooked.next())] == ["second", "first"]


def test_a_delayed_webhook_comes_when_its_time_has_come(box, hooked):
    box.fault("stripe", "webhook_delay", when={"external_id": "slow"}, seconds=3600)
    box.make("stripe", "customer", {"name": "slow"}, {"name": "fast"})
    assert named(hooked.next()) == "fast"
    noted(box)
    hasty, patient = (box.control("GET", f"stripe/deliveries?within={seconds}")["due"] for seconds in (3000, 3600))
    assert patient == hasty + 1
    box.control("POST", "clock", {"offset_seconds": 3601})
    assert named(hooked.next()) == "slow"


def test_a_refused_webhook_is_sent_again_with_the_vendors_back_off(box, hooked):
    hooked.statuses.put(500)
    box.make("stripe", "customer", {"name": "again"})
    first = hooked.next()
    noted(box)  # else it would be sent again an hour after this one
    box.control("POST", "clock", {"offset_seconds": 3600})
    second = hooked.next()
    assert first[1] == second[1]
    signed_at = [int(signature.split(",")[0].removeprefix("t=")) for signature, _ in (first, second)]
    assert signed_at[0] <= signed_at[1] <= time.time(), "signed anew, at the real time"


def test_a_reset_keeps_what_it_is_told_and_never_restarts_the_log(box):
    box.make("stripe", "product", {"name": "kept"})
    box.make("stripe", "customer", {"name": "gone"})
    last = box.control("GET", "stripe/log")["last"]
    box.control("POST", "reset", {"vendors": ["stripe"], "keep": "reference"})
    assert box.control("GET", "stripe/documents/customer")["items"] == []
    assert "kept" in [item["name"] for item in box.control("GET", "stripe/documents/product?limit=1000")["items"]]
    box.control("POST", "reset", {"vendors": None, "keep": "nothing"})
    assert box.control("GET", "stripe/documents/product")["items"] == []
    box.make("stripe", "customer", {"name": "new"})
    assert box.control("GET", "stripe/log")["last"] == last + 1


def test_two_workers_of_one_run_never_find_the_same_ports(monkeypatch):
    found: list[set[int]] = []
    for worker in ("gw0", "gw1", "gw2"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        found.append({first + n for first in (find_free_ports(12) for _ in range(100)) for n in range(12)})
    assert sum(len(ports) for ports in found) == len(set().union(*found))


@pytest.mark.crash
def test_a_killed_sandbox_keeps_documents_log_numbers_and_pending_webhooks(tmp_path, receiver):
    with running_sandboxes(tmp_path, vendors=["stripe"]) as box:
        key = box.vendor("stripe")
        box.control("POST", "stripe/webhooks", {"url": receiver.url, "enabled_events": ["customer.created"]})
        box.fault("stripe", "webhook_delay", seconds=3600)
        made = box.make("stripe", "customer", {"name": "pending"})
        box.control("POST", "clock", {"offset_seconds": 10})
        last = box.control("GET", "stripe/log")["last"]
        box.kill()
        box.start()
        assert box.vendor("stripe") == key
        assert box.control("GET", "clock")["offset_seconds"] == 10
        assert [item["id"] for item in box.control("GET", "stripe/documents/customer")["items"]] == made
        assert receiver.received.empty()
        box.control("POST", "clock", {"offset_seconds": 3700})
        assert named(receiver.next()) == "pending"
        box.make("stripe", "customer", {"name": "later"})
        assert box.control("GET", "stripe/log")["last"] == last + 1
