"""What subscribers are given says what is sent: schema, AsyncAPI document, the example and the way to check."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import jsonschema
import pytest

from exceptions.alerts import messages, signing, subscribers, webhooks
from exceptions.alerts.parts import Part
from exceptions.kind_words import HIGH
from exceptions.models import AlertDelivery
from tests.factories import make_alert

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "webhooks"
README = (FOLDER / "README.md").read_text()
VALIDATOR = jsonschema.Draft202012Validator(
    subscribers.schema(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)


def test_the_files_are_those_that_the_code_prints():
    kept = {name: (FOLDER / name).read_text() for name in subscribers.printed()}
    assert kept == subscribers.printed(), "python -m exceptions.alerts.subscribers docs/webhooks"


def test_the_schema_is_one_and_every_reference_leads_somewhere():
    jsonschema.Draft202012Validator.check_schema(subscribers.schema())
    document = subscribers.asyncapi()
    found = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
    assert len(found) > 10
    for reference in found:
        if reference.startswith("./"):
            assert (FOLDER / reference).exists()
            continue
        place = document
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
    assert set(subscribers.SAYS) == set(webhooks.TYPES) == {
        message["name"] for message in document["components"]["messages"].values()
    }  # fmt: skip
    for message in document["components"]["messages"].values():
        for example in message.get("examples", ()):
            VALIDATOR.validate(example["payload"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("what", "about", "kind", "expected"),
    [
        ("alert", "opened", "missing_item_mapping", "exception.raised"),
        ("alert", "at_risk", "missing_item_mapping", "exception.at_risk"),
        ("alert", "breached", "missing_item_mapping", "exception.late"),
        ("reminder", "opened", "missing_item_mapping", "exception.reminded"),
        ("all_clear", "opened", "missing_item_mapping", "exception.resolved"),
        ("alert", "opened", messages.TEST, "exception.test"),
    ],
)
def test_each_message_is_as_the_schema_says(what, about, kind, expected):
    group = make_alert(kind, about=about)
    group.over_at = group.grew_at if what == "all_clear" else None
    body = json.loads(
        webhooks.body_of(AlertDelivery(group=group, what=what), [Part("platform", "", HIGH, None)], group.grew_at)
    )
    assert body["type"] == expected
    VALIDATOR.validate(body)
    assert set(body["data"]) == set(subscribers.schema()["$defs"]["AlertData"]["properties"])


def test_what_would_be_missed_is_refused_by_the_schema():
    example = subscribers.asyncapi()["components"]["messages"]["ExceptionRaised"]["examples"][0]["payload"]
    for name in ("key", "cases", "is_over"):
        broken = {**example, "data": {k: v for k, v in example["data"].items() if k != name}}
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(broken)
    VALIDATOR.validate({**example, "data": {**example["data"], "one_of_a_later_release": 1}})


def test_the_page_shows_a_message_names_every_type_and_its_code_checks_what_is_signed(monkeypatch):
    VALIDATOR.validate(json.loads(re.search(r"```json\n(.*?)```", README, re.DOTALL)[1]))
    assert all(f"`{code}`" in README for code in webhooks.TYPES)
    names: dict = {}
    exec(re.search(r"```python\n(.*?)```", README, re.DOTALL)[1], names)
    secret, id_, at, body, expected = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
        b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    )  # fmt: skip
    for told in (secret, id_, str(at), body.decode(), expected):
        assert told in README
    headers = signing.sign(id_, at, body, [secret])
    check = names["is_from_the_portal"]
    for clock, sent, is_taken in [
        (at, body, True), (at + 300, body, True), (at + 301, body, False), (at - 301, body, False),
        (at, body + b" ", False),
    ]:  # fmt: skip
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        assert check(headers, sent, secret) is is_taken
    monkeypatch.setattr(time, "time", lambda: at)
    assert check({**headers, "webhook-signature": f"v1,AAAA {headers['webhook-signature']}"}, body, secret)
    assert not check({**headers, "webhook-signature": expected.replace("v1,", "v1a,")}, body, secret)
