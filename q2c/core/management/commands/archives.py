"""The archives of months: list them, or check their files against the audit chain. Ends with an error where one isn't
whole."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError

from q2c.core import archives
from q2c.core.models import Archive


class Command(BaseCommand):
    help = "List the archives of months; with --check read each to its last row and compare it with the audit chain."

    def add_arguments(self, parser):
        parser.add_argument("partitions", nargs="*", help="only these months, such as transactions_steprun_2019_03")
        parser.add_argument("--check", action="store_true", help="read every file and verify it")

    def handle(self, *args, **options):
        found = archives.current().order_by("partition")
        if options["partitions"]:
            found = found.filter(partition__in=options["partitions"])
            if missing := set(options["partitions"]) - set(found.values_list("partition", flat=True)):
                raise CommandError(f"No archive holds {', '.join(sorted(missing))}")
        faults = 0
        for archive in found:
            line = f"{archive.partition}: {archive.row_count} rows, {archive.size_bytes} bytes, {archive.file_name}"
            if options["check"]:
                seen = archives.check(archive)
                faults += bool(seen.fault)
                line += f": {seen.fault or 'whole'}"
                line += f", {seen.erased_count} rows of erased customers" if seen.erased_count else ""
            self.stdout.write(line)
        try:
            for name in _strangers():
                self.stdout.write(f"{name}: a file that no archive names; it may go")
        except archives.ArchiveFailed as failed:
            self.stdout.write(f"{failed}: nothing can be archived or read")
        if faults:
            raise CommandError(f"{faults} archives aren’t whole")


def _strangers() -> list[str]:
    """Files in the directory that belong to no archive: of a run that was killed before its commit."""
    known = set(Archive.objects.values_list("file_name", flat=True))
    known |= {name.replace(".jsonl.gz", ".json") for name in known}
    place = archives.folder()
    return sorted(file.name for file in place.iterdir() if file.name not in known) if place.is_dir() else []
