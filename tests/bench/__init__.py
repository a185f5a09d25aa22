"""The benchmark: the ingest path measured against its limits and its peers. `python -m tests.bench --help`."""
