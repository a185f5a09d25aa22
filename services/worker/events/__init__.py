"""Records of the events topic: gathered into blocks, written to ClickHouse."""
