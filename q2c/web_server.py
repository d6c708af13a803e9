"""gunicorn's settings: `gunicorn -c python:q2c.web_server q2c.wsgi`."""

import os
from pathlib import Path

bind = os.environ.get("Q2C_BIND") or f"127.0.0.1:{os.environ.get('Q2C_PORT', '8000')}"
worker_class = "gthread"
workers = int(os.environ.get("Q2C_WEB_WORKERS") or "2")
threads = int(os.environ.get("Q2C_WEB_THREADS") or "8")
backlog = 2048
keepalive = 30
timeout = 60
graceful_timeout = 6
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a slow disk must not look like a dead worker
control_socket_disable = True
loglevel = "warning"
accesslog = None  # the portal counts and times its answers itself


def child_exit(server, worker):
    """Take a dead worker's gauges out of the sums."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)
