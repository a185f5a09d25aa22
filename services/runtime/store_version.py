"""The oldest ClickHouse that Headrace is made for. docs/how-to/deploy.md states it too."""

from services.runtime.clickhouse import ClickHouse, StoreError, UnsupportedVersionError, Version
from services.runtime.logs import get_logger
from services.runtime.settings import ClickHouseSettings

log = get_logger(__name__)

LOWEST_VERSION: Version = (26, 8)


async def refuse_old_version(settings: ClickHouseSettings) -> None:
    """For the start of a service. Raises UnsupportedVersionError; where ClickHouse does not answer yet, nothing is said:
    whoever connects later is refused then."""
    store = ClickHouse(settings, lowest_version=LOWEST_VERSION)
    try:
        await store.command("SELECT 1")
    except UnsupportedVersionError:
        raise
    except StoreError as error:
        log.warning("store_not_ready", reason=str(error)[:500])
    finally:
        await store.close()
