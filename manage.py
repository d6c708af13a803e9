#!/usr/bin/env python
"""Django's entry point. Beside a running demo (same Q2C_HOME) it works on the demo's database."""

import os
import sys
from pathlib import Path

OWNER_COMMANDS = ("migrate", "prepare_database")


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "q2c.settings")
    from q2c.embedded import adopt_running_demo

    adopt_running_demo(Path(os.environ.get("Q2C_HOME") or ".q2c"))
    if len(sys.argv) > 1 and sys.argv[1] in OWNER_COMMANDS:
        os.environ["Q2C_AS_OWNER"] = "1"
    else:
        os.environ.pop("Q2C_AS_OWNER", None)
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
