"""Where the window of ids begins that a record is checked against. Times are Unix seconds.

How long the window is: HEADRACE_WORKER_DEDUPE_WINDOW_HOURS.
"""

import time

# Clocks of edges, which stamp what is stored, of brokers and of workers may differ by so much.
CLOCK_SKEW_S = 3600.0


def record_time(at_s: float, *, of_broker: bool, oldest_s: float) -> float:
    """The time that counts for a record that says it was written at `at_s`.

    The broker's time is right however old it is: behind a backlog, the window is that of the backlog. The time of a
    producer may be nonsense (no time at all, the year 1970), and must not fetch the ids of years: what is older than
    `oldest_s`, the oldest time that a record in the log can have, counts as now. So does the future.
    """
    now = time.time()
    return at_s if at_s < now and (of_broker or at_s >= oldest_s) else now
