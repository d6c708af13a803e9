"""SOQL read: text becomes a Query, or a MALFORMED_QUERY says where it stopped making sense."""

import re
from dataclasses import dataclass, field
from typing import Any

from connectors.salesforce.sandbox.errors import refusal

TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
    | (?P<date>\d{4}-\d\d-\d\d(?![\dT]))
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?![\w]))
    | (?P<word>[A-Za-z_][A-Za-z0-9_.]*(?::\d+)?)
    | (?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
RESERVED = frozenset({"SELECT", "FROM", "WHERE", "AND", "OR", "NOT", "IN", "LIKE", "ORDER", "BY", "LIMIT", "OFFSET"})


@dataclass(frozen=True)
class Literal:
    """A value as written: its kind (string, number, date, datetime, boolean, null, span) and its text or value."""

    kind: str
    value: Any


@dataclass(frozen=True)
class Condition:
    """One comparison. `value` is a Literal, a list of them (IN), or a Query (IN with a subquery)."""

    path: str
    operator: str
    value: Any


@dataclass(frozen=True)
class Group:
    """Conditions joined by AND or OR, or one that is negated by NOT."""

    operator: str
    parts: tuple


@dataclass
class Query:
    """One query. `fields` are paths; `children` are subqueries of the SELECT list; `is_count` is SELECT COUNT()."""

    source: str = ""
    selected: list = field(default_factory=list)  # paths and Querys in the order given
    is_count: bool = False
    where: Any = None
    order: list[tuple[str, bool, bool]] = field(default_factory=list)  # (path, descending, nulls last)
    limit: int | None = None
    offset: int = 0


def malformed(message: str) -> Exception:
    """The refusal of a text that is no SOQL."""
    return refusal("MALFORMED_QUERY", message)


def parse(text: str) -> Query:
    """Read a whole query. Raises Refusal with MALFORMED_QUERY."""
    reader = Reader(text)
    query = reader.query()
    if reader.kind != "end":
        raise malformed(f"unexpected token: '{reader.token}'")
    return query


class Reader:
    """A recursive descent over the tokens."""

    def __init__(self, text: str):
        self.tokens: list[tuple[str, str]] = []
        place, end = 0, len(text.rstrip())
        while place < end:
            match = TOKEN.match(text, place)
            if match is None:
                raise malformed(f"unexpected character at position {place}: '{text[place : place + 20].strip()}'")
            self.tokens.append((str(match.lastgroup), match.group(str(match.lastgroup))))
            place = match.end()
        self.tokens.append(("end", "<EOF>"))
        self.index = 0

    @property
    def kind(self) -> str:
        """The kind of the token at hand."""
        return self.tokens[self.index][0]

    @property
    def token(self) -> str:
        """The token at hand."""
        return self.tokens[self.index][1]

    def take(self) -> str:
        """The token at hand, and go on."""
        token = self.token
        self.index += 1
        return token

    def skip(self, *words: str) -> bool:
        """Go past these words if they stand here."""
        here = self.tokens[self.index : self.index + len(words)]
        if [token.upper() for _, token in here] != list(words):
            return False
        self.index += len(words)
        return True

    def expect(self, word: str) -> None:
        """Go past this word, which must stand here."""
        if not self.skip(word):
            raise malformed(f"unexpected token: '{self.token}' (expecting {word})")

    def path(self) -> str:
        """A field or object name."""
        if self.kind != "word" or self.token.upper() in RESERVED:
            raise malformed(f"unexpected token: '{self.token}'")
        return self.take()

    def is_order_object(self) -> bool:
        """Whether the object Order stands here, and not the beginning of ORDER BY."""
        return self.token.upper() == "ORDER" and self.tokens[self.index + 1][1].upper() != "BY"

    def query(self) -> Query:
        """SELECT … to the end of its clauses."""
        found = Query()
        self.expect("SELECT")
        if self.skip("COUNT", "(", ")"):
            found.is_count = True
        else:
            found.selected = self.selection()
        self.expect("FROM")
        found.source = self.take() if self.is_order_object() else self.path()
        if self.skip("WHERE"):
            found.where = self.condition()
        if self.skip("ORDER", "BY"):
            found.order = self.ordering()
        if self.skip("LIMIT"):
            found.limit = self.count()
        if self.skip("OFFSET"):
            found.offset = self.count()
            if found.offset > 2000:
                raise refusal("NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000")
        return found

    def selection(self) -> list:
        """The fields and subqueries between SELECT and FROM."""
        chosen: list = []
        while True:
            if self.skip("("):
                chosen.append(self.query())
                self.expect(")")
            else:
                chosen.append(self.path())
            if not self.skip(","):
                return chosen

    def condition(self) -> Any:
        """Comparisons joined by AND, or by OR; both in one row need parentheses."""
        parts = [self.term()]
        joint = None
        while self.token.upper() in {"AND", "OR"} and self.kind == "word":
            if joint not in (None, self.token.upper()):
                raise malformed(f"unexpected token: '{self.token}' (AND and OR need parentheses)")
            joint = self.take().upper()
            parts.append(self.term())
        return Group(joint, tuple(parts)) if joint else parts[0]

    def term(self) -> Any:
        """One comparison, a negated one, or a group in parentheses."""
        if self.skip("NOT"):
            return Group("NOT", (self.term(),))
        if self.skip("("):
            inner = self.condition()
            self.expect(")")
            return inner
        path = self.path()
        if self.skip("NOT", "IN"):
            return Condition(path, "NOT IN", self.choices())
        if self.skip("IN"):
            return Condition(path, "IN", self.choices())
        if self.skip("LIKE"):
            return Condition(path, "LIKE", self.literal())
        if self.kind != "sign" or self.token in {"(", ")", ","}:
            raise malformed(f"unexpected token: '{self.token}' (expecting an operator)")
        operator = self.take()
        return Condition(path, "!=" if operator == "<>" else operator, self.literal())

    def choices(self) -> Any:
        """The list, or the subquery, behind IN."""
        self.expect("(")
        if self.token.upper() == "SELECT":
            found: Any = self.query()
        else:
            found = [self.literal()]
            while self.skip(","):
                found.append(self.literal())
        self.expect(")")
        return found

    def literal(self) -> Literal:
        """One value."""
        kind = self.kind
        if kind == "string":
            return Literal("string", re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[1]), self.take()[1:-1]))
        if kind in {"number", "date", "datetime"}:
            return Literal(kind, self.take())
        word = self.token.upper()
        if kind == "word" and word in {"TRUE", "FALSE"}:
            self.take()
            return Literal("boolean", word == "TRUE")
        if kind == "word" and word == "NULL":
            self.take()
            return Literal("null", None)
        if kind == "word" and re.fullmatch(r"TODAY|YESTERDAY|LAST_N_DAYS:\d+", word):
            self.take()
            return Literal("span", word)
        raise malformed(f"unexpected token: '{self.token}' (expecting a value)")

    def ordering(self) -> list[tuple[str, bool, bool]]:
        """The columns behind ORDER BY."""
        columns = []
        while True:
            path = self.path()
            descending = self.skip("DESC")
            if not descending:
                self.skip("ASC")
            last = False  # nulls come first unless asked otherwise
            if self.skip("NULLS", "LAST"):
                last = True
            elif self.skip("NULLS", "FIRST"):
                last = False
            columns.append((path, descending, last))
            if not self.skip(","):
                return columns

    def count(self) -> int:
        """A whole number that isn't negative."""
        if self.kind != "number" or not self.token.isdigit():
            raise malformed(f"unexpected token: '{self.token}' (expecting a number)")
        return int(self.take())
