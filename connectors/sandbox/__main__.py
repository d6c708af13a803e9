"""`python -m connectors.sandbox --home FOLDER --port N`: the sandboxes alone, without Django."""

import argparse
import logging
import os
import sys
from pathlib import Path

from connectors.sandbox.server import find_vendors, run


def main() -> None:
    """Read the arguments and serve; one line on stdout says that all doors are open."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", default=os.environ.get("Q2C_HOME", ".q2c"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("Q2C_SANDBOX_PORT", "8900")))
    parser.add_argument("--shown-port", type=int, help="vendors say that they are at the ports after this one")
    parser.add_argument("--vendors", help="names separated by commas; all by default")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    found = find_vendors()
    if arguments.vendors:
        found = {code: found[code] for code in arguments.vendors.split(",")}

    def say_ready() -> None:
        sys.stdout.write(f"ready: control door at http://127.0.0.1:{arguments.port}\n")
        sys.stdout.flush()

    run(Path(arguments.home), arguments.port, found, on_ready=say_ready, shown_port=arguments.shown_port)


if __name__ == "__main__":
    main()
