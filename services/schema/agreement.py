"""Services and tables must know each other: an older service would misread rows of newer ones, and a newer one asks for
columns that are not there."""

from services.contract.tables import SCHEMA_MIGRATIONS
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.logs import get_logger
from services.runtime.operator_errors import OperatorError
from services.runtime.retry import retry_until_done
from services.runtime.settings import ClickHouseSettings
from services.schema.files import load_migrations
from services.schema.topology import refuse_cluster, refuse_tables_of_cluster

log = get_logger(__name__)
_RETRY_S = 1.0


class UnknownSchemaError(OperatorError):
    """The tables are newer than this program."""


class _BehindError(Exception):
    """The tables are older: somebody will migrate them."""


async def agree_with_schema(settings: ClickHouseSettings) -> None:
    """For the start of a service. Waits until the tables are as new as this program. Raises UnknownSchemaError, TopologyError. Where
    ClickHouse does not answer nothing is said: the service waits for it later."""
    store = ClickHouse(settings)
    try:
        await retry_until_done(lambda: _compare(store), (_BehindError,), _RETRY_S, log, "tables_are_older")
        if settings.clickhouse_cluster:
            topology = await refuse_cluster(store, settings)
            for shard, found in topology.without_majority().items():
                log.warning("shard_without_quorum", shard=shard, replicas_that_answer=found, reason=topology.silence)
        else:
            await refuse_tables_of_cluster(store, settings)
    except StoreError as error:
        log.warning("schema_not_read", reason=str(error)[:500])
    finally:
        await store.close()


async def _compare(store: ClickHouse) -> None:
    applied = {row[0] for row in await store.rows(f"SELECT name FROM {SCHEMA_MIGRATIONS}")}
    known = {migration.name for migration in load_migrations()}
    if unknown := sorted(applied - known):
        raise UnknownSchemaError(
            f"The tables are newer than this program: {', '.join(unknown)} was applied. Start the version that knows it."
        )
    if missing := sorted(known - applied):
        raise _BehindError(f"run `headrace migrate`: {', '.join(missing)} was not applied")
