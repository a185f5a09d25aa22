"""Where the window of ids begins that a record is checked against."""

import time


def window_start(window_s: float, oldest_s: float) -> float:
    """Where the window of a record begins that was sent at `oldest_s`: behind a backlog, earlier than for one of now.

    A time that is further back than a whole window is no backlog that could be answered for, but a wrong clock or a
    producer that sends no time: it counts as now, so that one such record cannot fetch the ids of years.
    """
    now = time.time()
    return (oldest_s if now - window_s < oldest_s < now else now) - window_s
