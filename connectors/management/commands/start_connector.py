"""`manage.py start_connector acme --family billing`: stamps a vendor package and its tests, to be filled in."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from connectors import registry
from connectors.families import Family

ROOT = Path(__file__).resolve().parents[3]
NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")


class Command(BaseCommand):
    help = "Stamp the package and the tests of a new vendor"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", help="the package's name, such as acme")
        parser.add_argument("--name", default="", help="the vendor's own name, such as 'Acme Billing'")
        parser.add_argument("--family", action="append", required=True, choices=[f.value for f in Family])
        parser.add_argument("--root", default=str(ROOT), help="the checkout to stamp into")

    def handle(self, *args: Any, **options: Any) -> None:
        code, root = options["code"], Path(options["root"])
        if not NAME.fullmatch(code):
            raise CommandError(f"{code}: a package name has small letters, digits and underscores")
        package = root / "connectors" / code
        if package.exists():
            raise CommandError(f"{package} exists")
        families = [Family(f) for f in dict.fromkeys(options["family"])]
        for path, text in stamped_files(code, options["name"] or code.capitalize(), families).items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            self.stdout.write(f"made {path}")
        self.stdout.write(f'Add "connectors.{code}" to the independence contract in pyproject.toml.')
        self.stdout.write(
            f"Write its part in the journeys, tests/journeys/vendors/{code}.py, as its neighbours there do."
        )


def stamped_files(code: str, name: str, families: list[Family]) -> dict[str, str]:
    """The new package's files by path below the checkout."""
    tests = f"tests/connectors/{code}"
    return {
        f"connectors/{code}/__init__.py": "",
        f"connectors/{code}/manifest.py": _MANIFEST.format(
            code=code, name=name, families=", ".join(f"Family.{f.name}" for f in families)
        ),
        f"connectors/{code}/client.py": _client(name, families),
        f"connectors/{code}/inbound.py": _PURE.format(says=f"{name}'s objects in our words", verb="returns"),
        f"connectors/{code}/outbound.py": _PURE.format(says=f"Our documents in {name}'s words", verb="takes"),
        f"connectors/{code}/README.md": _README.format(code=code, name=name),
        f"{tests}/__init__.py": "",
        f"{tests}/test_client.py": _TEST.format(code=code, name=name),
    }


def _client(name: str, families: list[Family]) -> str:
    lines = [
        f"    {family.value}: {verb}({', '.join(list(inspect.signature(getattr(promise, verb)).parameters)[1:])})"
        for family in families
        if (promise := registry.PROMISES.get(family)) is not None
        for verb in registry.promised(promise)
    ]
    return _CLIENT.format(name=name, verbs="\n".join(lines or ["    none yet: its family has no protocol"]))


_PURE = '"""{says}. Pure: a function is named by the noun that it {verb}."""\n'

_MANIFEST = '''"""{name}, in facts. Sources and dates stand in the README beside this file."""

from __future__ import annotations

from connectors.auth import Bearer
from connectors.families import Family
from connectors.http import Auth, Line
from connectors.manifest import Limits, Manifest, Repeats, Secret, When
from q2c.core.problems import Category


def auth(line: Line) -> Auth:
    """The API key as bearer token."""
    return Bearer(line.secrets["api_key"])


MANIFEST = Manifest(
    code="{code}",
    name="{name}",
    families=({families},),
    settings=(Secret("api_key"),),
    limits=Limits(at_once=4),
    repeats=Repeats(settles_after_seconds=120.0),
    errors=(
        When(Category.AUTHENTICATION, "credentials_refused", "{name} refused our credentials", status=401),
        When(Category.RATE_LIMIT, "rate_limited", "{name}'s limit of requests is used up", status=429),
        When(Category.VALIDATION, "record_gone", "{name} has no such record", status=404, is_absent=True),
        When(Category.AVAILABILITY, "system_unavailable", "{name} isn't available ({{status}})", status=(500, 599)),
    ),
    auth=auth,
)
'''

_CLIENT = '''"""{name}'s verbs. The only file that waits for the network, through the telephone.

Verbs that its families promise; leave out what {name} can't do, the capability matrix looks:
{verbs}
"""

from __future__ import annotations

from connectors.http import Line, Telephone


class Client:
    """One account at {name}."""

    def __init__(self, line: Line, telephone: Telephone) -> None:
        self.line = line
        self.telephone = telephone

    async def check_connection(self) -> str:
        """One cheap read; gives a sentence for the connections screen. Raises Problem."""
        reply = await self.telephone.call("GET", "/", verb="check_connection")
        reply.json()
        return "{name} answers"
'''

_README = """# {name}

**It does**: (the documents it carries, in one sentence.)
**It does not**: (what somebody might expect of it.)

Facts as of (date), from (the vendor's documentation, with links).

## Credentials
| name | what |
|---|---|
| `api_key` | |

## What to know

Start reading at `manifest.py`. Tests: `tests/connectors/{code}`.
"""

_TEST = '''"""The {name} client, over HTTP."""

import pytest
from aiohttp import web

from q2c.core.problems import Category, Problem
from tests.connectors.lines import client_of, run, serving


def test_a_wrong_key_is_a_problem_of_authentication():
    async def answer(request):
        assert request.headers["Authorization"] == "Bearer wrong"
        return web.json_response({{}}, status=401)

    async def story():
        async with serving(answer) as url:
            await client_of("{code}", url, secrets={{"api_key": "wrong"}}).check_connection()

    with pytest.raises(Problem) as refusal:
        run(story())
    assert refusal.value.category is Category.AUTHENTICATION
'''
