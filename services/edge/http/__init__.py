"""The ingest calls over HTTP: bodies, limits, answers."""
