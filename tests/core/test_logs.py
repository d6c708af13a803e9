"""A line of the log names what happened, and neither a secret nor a person."""

import json
import logging

import pytest

from q2c.core.logs import logging_config, without_persons


def line_of(*args, env: str = "production", **kwargs) -> dict:
    """What one call would print."""
    config = logging_config(env, "INFO")["formatters"]["line"]
    formatter = config["()"](**{key: value for key, value in config.items() if key != "()"})
    record = logging.getLogger("test").makeRecord("test", logging.ERROR, __file__, 1, *args, **kwargs)
    return json.loads(formatter.format(record))


def test_a_refused_rows_values_and_addresses_stay_out_of_the_line():
    text = (
        'duplicate key value violates unique constraint "one_person"\n'
        "DETAIL:  Key (name, city)=(Ada Lovelace, London) already exists.\nHINT:  none"
    )
    line = line_of("%s; told ada@example.com", (text,), None)
    assert line["event"] == (
        'duplicate key value violates unique constraint "one_person"\nDETAIL:  [left out]\nHINT:  none; told [e-mail]'
    )


def test_a_traceback_is_kept_without_what_it_quotes():
    try:
        raise ValueError("DETAIL:  Failing row contains (7, Ada Lovelace).")
    except ValueError as error:
        line = line_of("it failed", (), (type(error), error, error.__traceback__))
    assert "ValueError" in line["exception"]
    assert "Lovelace" not in json.dumps(line)


def test_secrets_go_by_their_name_and_their_shape():
    line = line_of("bearer %s", ("sk_live_abcdefgh",), None, extra={"client_secret": "hush", "count": 3})
    assert (line["client_secret"], line["count"]) == ("[redacted]", 3)
    assert "sk_live" not in json.dumps(line)


@pytest.mark.parametrize("value", [3, None, True, "no address @ all", {"a": ["b", 2.5]}])
def test_what_names_nobody_stays_as_it_is(value):
    assert without_persons(value) == value
