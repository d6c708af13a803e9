"""Let a machine call the REST API: propose what it may do (somebody else approves), make its secret, or end it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from q2c.core.approvals import ApprovalRefused
from q2c.core.models import Person
from q2c.inbox import api_clients


class Command(BaseCommand):
    help = "Machines that call the REST API: list, propose, secret, end."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        acts.add_parser("list", help="every machine and what it may do")
        for act, said in (
            ("propose", "what a machine may do from its approval on; somebody else approves it under Decisions"),
            ("secret", "make a new secret and print it once; the old one and its tokens end"),
            ("end", "it may do nothing any more, from now on"),
        ):
            own = acts.add_parser(act, help=said)
            own.add_argument("name", help="the client’s id")
            own.add_argument("--by", required=True, help="the username of whoever does it")
            own.add_argument("--why", required=True, help="the reason, for the audit")
            if act == "propose":
                own.add_argument("--scopes", required=True, nargs="+", help="such as orders:write cards:read")
                where = own.add_mutually_exclusive_group(required=True)
                where.add_argument("--entities", nargs="+", help="codes of legal entities")
                where.add_argument("--all-entities", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["act"] == "list":
            for client in api_clients.all_clients():
                where = "every entity" if client.is_for_all_entities else ", ".join(client.legal_entities)
                may = f"{', '.join(client.scopes)} for {where}" if client.scopes else "ended"
                self.stdout.write(f"{client.application.client_id}: {may}")
            return
        by = Person.objects.filter(username=options["by"], is_active=True).first()
        if by is None:
            raise CommandError(f"Nobody who may sign in is called {options['by']}.")
        try:
            self.stdout.write(self._act(by, options))
        except (api_clients.ClientRefused, ApprovalRefused) as refused:
            raise CommandError(str(refused)) from None

    def _act(self, by: Person, options: dict[str, Any]) -> str:
        name, why = options["name"], options["why"]
        if options["act"] == "propose":
            api_clients.propose_client(name, by=by, scopes=options["scopes"], entities=options["entities"], why=why)
            return "Proposed. It may do so once somebody else has approved it under Decisions; then make its secret."
        if options["act"] == "end":
            api_clients.end_client(name, by=by, why=why)
            return f"{name} may do nothing any more; its tokens are gone."
        return api_clients.make_secret(name, by=by, why=why)
