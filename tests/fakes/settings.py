"""The settings of what is in memory and connects to nothing: read once. Each fake would read the whole environment else."""

from services.runtime.settings import ClickHouseSettings

CLICKHOUSE = ClickHouseSettings()
