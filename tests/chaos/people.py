"""People at their screens: they sign in over HTTP, look at cases and decisions, and send whatever form they find.

They repost, look again, waive, propose, approve, reject, replay, act in bulk and undo, in no order that makes sense.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

import requests

from tests.chaos.world import World

WHO = ("billing_ops", "controller", "sales_ops", "platform")
SECONDS_BETWEEN = 1.5
PATIENCE = 40.0  # seconds for an answer
AWAY = 503
# What people may do here. Not: change who may what, write rules, or write documents off, which makes new ones.
MAY_SEND = re.compile(
    r"/(repost|look|waive|override|take-up|assign|note|snooze|wake|send-back|period|sign|withdraw|replay|freeze"
    r"|confirm|undo|stop|again|merge|split|take-out)/$"
)
LISTS = ("/exceptions/cases/", "/exceptions/cases/", "/decisions/", "/exceptions/bulk/", "/exceptions/open-items/",
         "/inbox/?verdict=refused", "/transactions/?state=held")  # fmt: skip
DETAIL = re.compile(r'href="(/(?:exceptions/cases|exceptions/bulk|decisions|inbox)/[0-9a-f-]+/)"')
REASON = "Looked at it under fire"


@dataclass
class Form:
    """A form of a page: where it goes, what it would send, and what may be chosen."""

    action: str
    id: str
    fixed: list[tuple[str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    boxes: list[tuple[str, str]] = field(default_factory=list)


class Forms(HTMLParser):
    """All forms of a page that change something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self.strays: list[tuple[str, str, str]] = []  # boxes outside of their form: form id, name, value
        self.current: Form | None = None
        self.select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Fields belong to the form that is open."""
        given = {name: value or "" for name, value in attrs}
        name, value, kind = given.get("name", ""), given.get("value", ""), given.get("type", "text")
        if tag == "form":
            self.current = Form(given.get("action", ""), given.get("id", ""))
            if given.get("method", "").lower() == "post":
                self.found.append(self.current)
        elif tag == "input" and "form" in given and kind == "checkbox":
            self.strays.append((given["form"], name, value))
        elif self.current is None:
            return
        elif tag == "textarea" and name:
            self.current.texts.append(name)
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select and value:
            self.current.choices.setdefault(self.select, []).append(value)
        elif tag == "button" and name:
            self.current.buttons.append((name, value))
        elif tag == "input" and name:
            self._take_input(name, value, kind)

    def _take_input(self, name: str, value: str, kind: str) -> None:
        assert self.current is not None
        if kind == "hidden":
            self.current.fixed.append((name, value))
        elif kind == "radio":
            self.current.choices.setdefault(name, []).append(value)
        elif kind == "checkbox":
            self.current.boxes.append((name, value or "on"))
        elif kind not in ("submit", "file"):
            if value:
                self.current.fixed.append((name, value))
            else:
                self.current.texts.append(name)

    def handle_endtag(self, tag: str) -> None:
        """The form, or the choice, is over."""
        if tag == "form":
            self.current = None
        elif tag == "select":
            self.select = ""


class Somebody(threading.Thread):
    """One person, who goes on until told to stop."""

    def __init__(self, world: World, username: str, seed: int) -> None:
        super().__init__(name=username, daemon=True)
        self.base = f"http://127.0.0.1:{world.port}"
        self.username = username
        self.password = next(p["password"] for p in world.told["people"] if p["username"] == username)
        self.chance = random.Random(f"{seed} {username}")
        self.session = requests.Session()
        self.session.trust_env = False
        self.counts: Counter[str] = Counter()
        self.broken: list[str] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        """One page after another. That a page says it can't be had while everything falls is counted, and no more."""
        while not self.is_over.wait(self.chance.uniform(0.3, 1.7) * SECONDS_BETWEEN):
            try:
                self.do_something()
            except requests.RequestException:
                self.counts["no answer"] += 1

    def stop(self) -> None:
        """End after the page that is open."""
        self.is_over.set()
        self.join(timeout=2 * PATIENCE)

    def do_something(self) -> None:
        """Open a list, perhaps something in it, and send one of the forms there."""
        page = self.look_at(self.chance.choice(LISTS))
        links = sorted(set(DETAIL.findall(page)))
        if links and self.chance.random() < 0.8:
            page = self.look_at(self.chance.choice(links))
        forms = [form for form in forms_of(page) if MAY_SEND.search(form.action)]
        if forms:
            self.send(self.chance.choice(forms))

    def look_at(self, path: str) -> str:
        """A page's HTML; signs in first where that is asked. Empty where the page couldn't be had."""
        for _ in range(2):
            answer = self._seen(self.session.get(self.base + path, timeout=PATIENCE))
            if "/accounts/login/" not in answer.url:
                if answer.status_code >= 500:
                    self.counts[f"page: {answer.status_code}"] += 1
                return answer.text if answer.ok else ""
            self._sign_in()
        return ""

    def send(self, form: Form) -> int:
        """Fill a form in somehow and send it; the status of the page that came of it."""
        data = list(form.fixed)
        data += [(name, REASON) for name in form.texts]
        data += [(name, self.chance.choice(values)) for name, values in form.choices.items()]
        data += [box for box in form.boxes if self.chance.random() < 0.5]
        if form.buttons:
            data.append(self.chance.choice(form.buttons))
        answer = self._seen(self.session.post(self.base + form.action, data=data, timeout=PATIENCE))
        verb = form.action.rstrip("/").rpartition("/")[2]
        self.counts[verb if answer.ok else f"{verb}: {answer.status_code}"] += 1
        return answer.status_code

    def _sign_in(self) -> None:
        page = self._seen(self.session.get(f"{self.base}/accounts/login/", timeout=PATIENCE))
        form = next((each for each in forms_of(page.text) if "login" in each.texts), None)
        if form is None:
            return
        data = [*form.fixed, ("login", self.username), ("password", self.password)]
        self._seen(self.session.post(f"{self.base}{form.action}", data=data, timeout=PATIENCE))

    def _seen(self, answer: requests.Response) -> requests.Response:
        """503 is what a page is to say while a server is down; any other answer of this sort is a bug of ours."""
        if answer.status_code >= 500 and answer.status_code != AWAY:
            self.broken.append(f"{answer.request.method} {answer.request.path_url}: {answer.status_code}")
        return answer


def forms_of(page: str) -> list[Form]:
    """The forms of a page, each with the boxes that stand elsewhere on it."""
    parser = Forms()
    parser.feed(page)
    for form_id, name, value in parser.strays:
        for form in parser.found:
            if form.id == form_id:
                form.boxes.append((name, value))
    return [form for form in parser.found if form.action]
