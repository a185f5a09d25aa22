"""The proof of exactly once: the whole pipeline as processes, under load, while its parts are killed, stopped, cut off
and fed poison. `python -m tests.fault`; the short form is test_short.py."""
