"""Exit 0 when the web server in this container answers 200 at /healthz. Standard library only."""

import os
import socket
import sys

host = os.environ.get("Q2C_ALLOWED_HOSTS", "localhost").split(",")[0]
with socket.create_connection(("127.0.0.1", 8000), timeout=4) as door:
    # The proxy's header: without it production would answer with a redirect to https.
    door.sendall(f"GET /healthz HTTP/1.0\r\nHost: {host}\r\nX-Forwarded-Proto: https\r\n\r\n".encode())
    sys.exit(b" 200 " not in door.recv(64))
