"""From body bytes to lines of the log. Pure: no I/O, no clock."""
