"""The query service: questions over HTTP, answered by ClickHouse."""
