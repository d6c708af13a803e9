"""Read by each Python program whose PYTHONPATH names this folder: its wall clock is off by HOST_CLOCK_OFF seconds, and
ticks on. The machine's own clock (monotonic) is left as it is, as where somebody set the wall clock."""

import datetime as dt
import os

import time_machine

if os.environ.get("HOST_CLOCK_OFF"):
    time_machine.travel(
        dt.datetime.now(dt.UTC) + dt.timedelta(seconds=float(os.environ["HOST_CLOCK_OFF"])), tick=True
    ).start()
