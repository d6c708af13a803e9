"""Give the platform role to the first administrators of an empty installation, who then agree on everything further."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from q2c.core.memberships import MembershipRefused, give_first
from q2c.core.models import Person


class Command(BaseCommand):
    help = "Give the platform role to two people or more, while nobody may give roles yet."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("usernames", nargs="+", help="of people who exist: manage.py createsuperuser makes one")

    def handle(self, *args: Any, **options: Any) -> None:
        people = list(Person.objects.filter(username__in=options["usernames"], is_active=True))
        if missing := set(options["usernames"]) - {person.username for person in people}:
            raise CommandError(f"Nobody who may sign in is called {', '.join(sorted(missing))}.")
        try:
            give_first(people)
        except MembershipRefused as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write("They may give roles now: each grant is proposed by one and approved by another.")
