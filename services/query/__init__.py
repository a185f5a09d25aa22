"""The query service: queries over HTTP, answered by ClickHouse."""
