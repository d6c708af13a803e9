"""How the workers and beat start. Tasks carry nudges, never facts."""

import atexit
import ctypes
import gc
import logging.config
import os
import signal
import sys

import structlog
from celery import Celery, bootsteps, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "q2c.settings")
app = Celery("q2c")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["q2c.core", "q2c.flows", "q2c.inbox", "q2c.reconciliation", "exceptions", "mappings"])

ALIVE_SECONDS = 10.0
RENEW_SECONDS = 2.0


class Liveness(bootsteps.StartStopStep):
    """Says every two seconds that this worker lives, from the loop that also takes its messages."""

    requires = frozenset({"celery.worker.components:Timer"})

    def __init__(self, worker, **options):
        self.timer = None
        super().__init__(worker, **options)

    def start(self, worker):
        self._renew(worker)
        self.timer = worker.timer.call_repeatedly(RENEW_SECONDS, self._renew, (worker,))

    def stop(self, worker):
        if self.timer:
            self.timer.cancel()
            self.timer = None
            self._call("release_lease", worker)

    def _renew(self, worker):
        self._call("take_lease", worker, seconds=ALIVE_SECONDS)

    def _call(self, what, worker, **options):
        from django.db import Error, close_old_connections

        from q2c.core import leases

        queues = "+".join(sorted(str(name) for name in app.amqp.queues.consume_from))
        name = f"{leases.WORKER}{queues}@{leases.this_process()}"
        close_old_connections()
        try:
            getattr(leases, what)(name, holder=leases.this_process(), **options)
        except Error as error:
            structlog.get_logger(__name__).warning("the database doesn't answer", error=str(error))


app.steps["worker"].add(Liveness)


@atexit.register
def leave_quickly():
    """A program's end would go into collecting the garbage of a memory that goes anyway: up to a second of CPU for each
    process, and at the end of the demo all of them end side by side."""
    gc.disable()
    gc.freeze()


@signals.setup_logging.connect
def keep_our_logging(**_kwargs):
    """Celery would put its own handlers in place of ours."""
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)


@signals.celeryd_init.connect
@signals.beat_init.connect
def refuse_unsafe_start(**_kwargs):
    """Workers and beat refuse what the web server refuses."""
    from q2c.core.checks import refuse_unsafe_start as refuse

    refuse()


@signals.worker_shutting_down.connect
def begin_nothing_more(**_kwargs):
    """A worker waits for its tasks: they hear of the end, and come to theirs."""
    from q2c.core.ending import ask_to_end

    ask_to_end()


@signals.worker_process_init.connect
def end_with_parent(**_kwargs):
    """A pool's child ends when its worker is killed: an orphan would go on carrying what another worker claims."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@signals.task_prerun.connect
def have_a_living_connection(**_kwargs):
    """Celery keeps a worker's connection over many tasks (CELERY_DB_REUSE_MAX), also one that the server has closed."""
    from django.db import close_old_connections, connection

    if not connection.in_atomic_block:
        close_old_connections()


@signals.task_prerun.connect
def begin_log_context(task_id=None, task=None, **_kwargs):
    """Context that an earlier task bound must not stand in this one's lines."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name)


@signals.before_task_publish.connect
def send_trace(headers=None, **_kwargs):
    """A task follows the span that sent it."""
    from q2c.core import tracing

    if headers is not None:
        headers.update(tracing.headers())


@signals.task_prerun.connect
def begin_span(task=None, **_kwargs):
    """A task's span, ended in `end_span`."""
    from q2c.core import tracing

    sent = {**(task.request.headers or {}), **vars(task.request)}  # Celery spreads a message's headers over both
    task.request.q2c_span = span = tracing.task_span(task.name, sent)
    span.__enter__()


@signals.task_postrun.connect
def end_span(task=None, **_kwargs):
    """The end of a task's span."""
    span = getattr(task.request, "q2c_span", None)
    if span is not None:
        span.__exit__(None, None, None)
