"""A deletion is not done before its rows are gone, also in tables that were restored from a backup."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from xxhash import xxh3_64_hexdigest

from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import EVENTS
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import send_sql
from tests.support.oracle import Event
from tests.support.oracle_people import PeopleHistory
from tests.support.people import store_people
from tests.support.pipeline import eventually
from tests.support.query_client import QueryClient, insert_keys

# The numbers of a server that has rewritten the table so often.
_EARLIER_MUTATIONS = 60


@pytest.fixture(autouse=True)
def _looked_at_often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("services.query.persons.deletion_queue._LOOK_S", 0.05)
        patched.setattr("services.query.persons.deletion_queue._PASSED_OVER_S", 0.2)
        yield


def restore(clickhouse: ClickHouseSettings, table: str) -> None:
    """The table as BACKUP and RESTORE leave it. Backups in memory are those of a session."""
    session = uuid.uuid4().hex
    for statement in (
        f"BACKUP TABLE {table} TO Memory('{session}')",
        f"DROP TABLE {table} SYNC",
        f"RESTORE TABLE {table} FROM Memory('{session}')",
    ):
        send_sql(clickhouse, statement, session=session)


@pytest.mark.parametrize("of", ["person", "window"])
def test_rows_of_a_restored_table_are_gone_when_a_deletion_is_done(clickhouse: ClickHouseSettings, of: str) -> None:
    if clickhouse.clickhouse_cluster:
        pytest.skip("replicated tables give restored parts new numbers")
    project, key = uuid.uuid4().hex, uuid.uuid4().hex
    insert_keys(clickhouse, [(project, key, ["query", "ingest"])])
    now = datetime.now(UTC)
    store_people(
        clickhouse,
        {
            project: PeopleHistory(
                [Event(str(uuid.uuid4()), "home", who, now - timedelta(days=1)) for who in ("a", "b")]
            )
        },
    )
    for number in range(_EARLIER_MUTATIONS):
        send_sql(clickhouse, f"ALTER TABLE {EVENTS} DELETE WHERE project_id = '{number}' SETTINGS mutations_sync = 1")
    restore(clickhouse, EVENTS)

    def rows() -> int:
        return int(send_sql(clickhouse, f"SELECT count() FROM {EVENTS} WHERE project_id = '{project}'"))

    def mutations() -> int:
        tag = xxh3_64_hexdigest(project.encode())
        return int(send_sql(clickhouse, f"SELECT count() FROM system.mutations WHERE position(command, '{tag}') > 0"))

    window = {"since": f"{now - timedelta(days=2):%F}", "until": f"{now + timedelta(days=1):%F}"}
    with QueryClient.started(clickhouse, projects=1) as client:
        answer = client.post("/privacy/delete", key, {"distinct_id": "a"} if of == "person" else window)
        place = f"{BASE_PATH}/privacy/delete/{answer.json()['deletion_id']}"

        def state() -> str:
            said: str = client.send("GET", place, key).json()["state"]
            return said

        # ClickHouse has done the mutation, and passed over the restored part: the service sees it, and tries again.
        # It works while it is asked.
        said, _ = eventually(lambda: (state(), mutations()), lambda of: of[1] >= 2 or of[0] == "done", within_s=60)
        assert (said, rows()) == ("running", 2)
        # What a restart of the server does to its tables: it counts on from the numbers of their parts.
        send_sql(clickhouse, f"DETACH TABLE {EVENTS} SYNC")
        send_sql(clickhouse, f"ATTACH TABLE {EVENTS}")
        eventually(state, lambda said: said == "done", within_s=90)
    assert rows() == (1 if of == "person" else 0)
