"""Exit 0 when the web server in this container answers 200 at /healthz. Standard library only."""

import socket
import sys

with socket.create_connection(("127.0.0.1", 8000), timeout=4) as door:
    door.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
    sys.exit(b" 200 " not in door.recv(64))
