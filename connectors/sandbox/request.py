"""A request and an answer as a vendor's handler sees them, free of the HTTP server beneath."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec

decode_json = msgspec.json.decode
encode_json = msgspec.json.encode

SEGMENT = re.compile(r"\[([^\]]*)\]")


class Refusal(Exception):
    """A handler's way out of a request: everything it wrote is rolled back, and this answer goes out."""

    def __init__(self, answer: "Answer"):
        super().__init__(answer.status)
        self.answer = answer


@dataclass(slots=True)
class Answer:
    """What goes back: a dict or list is sent as JSON, text and bytes as they are."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def payload(self) -> bytes:
        """The body as bytes."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return encode_json(self.body)


class Request:
    """One request to a vendor's sandbox."""

    __slots__ = (
        "_form",
        "_query",
        "_query_list",
        "body",
        "headers",
        "host",
        "method",
        "params",
        "path",
        "query_string",
        "user",
        "was_run",
    )

    def __init__(self, method: str, path: str, query_string: str, headers: Any, body: bytes):
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers  # a case-insensitive mapping
        self.host = headers.get("Host", "")
        self.body = body
        self.params: dict[str, str] = {}
        self.user: Any = None  # whatever the vendor's authenticate() wants to remember
        self.was_run = False  # whether its handler was asked; a fault may have answered before
        self._query: dict[str, str] | None = None
        self._query_list: list[tuple[str, str]] | None = None
        self._form: dict[str, Any] | None = None

    @property
    def query_list(self) -> list[tuple[str, str]]:
        """All pairs of the query string, in order."""
        if self._query_list is None:
            self._query_list = parse_qsl(self.query_string, keep_blank_values=True) if self.query_string else []
        return self._query_list

    @property
    def query(self) -> dict[str, str]:
        """The query string's last value of each name."""
        if self._query is None:
            self._query = dict(self.query_list)
        return self._query

    def json(self) -> Any:
        """The body decoded from JSON. Raises ValueError when it's none."""
        try:
            return decode_json(self.body)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error

    def form(self) -> dict[str, Any]:
        """The body decoded from application/x-www-form-urlencoded, nested: `a[b][0]=c` is {"a": {"b": ["c"]}}."""
        if self._form is None:
            self._form = nest_pairs(parse_qsl(self.body.decode(), keep_blank_values=True))
        return self._form

    def text(self) -> str:
        """Path and body as text, decoded as far as plain searching needs."""
        return unquote_plus(f"{self.path}?{self.query_string}\n{self.body.decode(errors='replace')}")


def nest_pairs(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Turn flat `a[b]`, `a[]` and `a[0]` names into dicts and lists."""
    root: dict[str, Any] = {}
    indexed = False
    for name, value in pairs:
        bracket = name.find("[")
        if bracket < 0:
            root[name] = value
            continue
        indexed = True
        node = root
        key = name[:bracket]
        for part in SEGMENT.findall(name[bracket:]):
            following = node.get(key)
            if not isinstance(following, dict):
                following = node[key] = {}
            node = following
            key = part or str(len(node))
        node[key] = value
    return {key: _as_list(value) for key, value in root.items()} if indexed else root


def _as_list(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    values = [(key, _as_list(value)) for key, value in node.items()]
    if values and all(key.isdigit() for key, _ in values):
        return [value for _, value in sorted(values, key=lambda pair: int(pair[0]))]
    return dict(values)
