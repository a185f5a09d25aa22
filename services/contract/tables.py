"""The names of the tables and the columns that cross a process border; a test checks them against the migrations."""

from collections.abc import Mapping

from services.contract.log.envelope import EventLine, IdentityLine

EVENTS = "events"
IDENTITY_LOG = "identity_log"
PERSON_IDS = "person_ids"
API_KEYS = "api_keys"
DASHBOARDS = "dashboards"
DELETIONS = "deletions"
DELETED_IDS = "deleted_ids"
TAKEN_IDS = "taken_ids"
DELETION_QUEUES = "deletion_queues"
DELETION_SWEEPS = "deletion_sweeps"
CATALOG = "catalog"
CATALOG_TOTALS = "catalog_totals"
CATALOG_GROUPS = "catalog_groups"
COHORTS = "cohorts"
COHORT_IDS = "cohort_ids"
PARTITIONING = "partitioning"
PROJECT_LIMITS = "project_limits"
USAGE = "usage"
EXPIRED = "expired"
SCHEMA_MIGRATIONS = "schema_migrations"

# Of the names of EVENTS' columns for promoted properties.
PROMOTED_PREFIX = "property_"
# On a cluster these are spread over the shards by the hash of a column, so that equal ids meet on one shard.
SHARDED: Mapping[str, str] = {EVENTS: "event_id"}
# All others are whole on every node.
WHOLE: tuple[str, ...] = (
    IDENTITY_LOG,
    PERSON_IDS,
    API_KEYS,
    DASHBOARDS,
    DELETIONS,
    DELETED_IDS,
    TAKEN_IDS,
    DELETION_QUEUES,
    DELETION_SWEEPS,
    CATALOG,
    CATALOG_TOTALS,
    CATALOG_GROUPS,
    COHORTS,
    COHORT_IDS,
    PARTITIONING,
    PROJECT_LIMITS,
    USAGE,
    EXPIRED,
    SCHEMA_MIGRATIONS,
)

EVENT_COLUMNS: tuple[str, ...] = EventLine.__struct_fields__
IDENTITY_COLUMNS: tuple[str, ...] = IdentityLine.__struct_fields__
