"""How queries reach ClickHouse: turns, limits, columns."""
