"""ClickHouse's HTTP interface over chDB: what a client sees is ClickHouse; sessions and users are not there."""
