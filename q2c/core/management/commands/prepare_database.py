"""Migrate, grant, and lay down the default schedules: everything that a new release needs, as the tables' owner."""

import gc

from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connection
from psycopg import conninfo

from q2c.core.checks import is_behind_pooler
from q2c.core.databases import give_up_vanished_clients
from q2c.core.grants import grant_app_role
from q2c.core.indexes import patiently


class Command(BaseCommand):
    help = "Migrate as the owner (DATABASE_OWNER_URL), grant DATABASE_URL's role its rights, add missing schedules."
    requires_system_checks = ()

    def handle(self, *args, **options):
        # Migrating makes tens of thousands of model classes: looking for garbage among them is a fifth of the time.
        gc.set_threshold(50_000, 20, 100)
        with connection.cursor() as cursor:
            if is_behind_pooler(cursor):
                raise CommandError(
                    "The owner's connection leads through a pooler: a migration's lock time-outs are its session's."
                    " Set DATABASE_OWNER_URL to an address of PostgreSQL itself."
                )
            give_up_vanished_clients(cursor)
        with (
            connection.cursor() as cursor
        ):  # beside a portal that works: whoever waits for a lock is in everybody's way
            patiently(cursor, lambda: call_command("migrate", verbosity=options["verbosity"], interactive=False))
        owner = settings.DATABASES["default"]["USER"]
        role = conninfo.conninfo_to_dict(settings.DATABASE_URL).get("user", "") if settings.DATABASE_URL else ""
        if role and role != owner:
            self.stdout.write(f"{role} may use {grant_app_role(str(role))} tables")
        from q2c.flows.schedules import add_missing_schedules

        for name in add_missing_schedules():
            self.stdout.write(f"schedule added: {name}")
