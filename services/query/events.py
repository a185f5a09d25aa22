"""The events question: single events in order of (timestamp, event id), a page at a time."""

import uuid
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Raw, Struct

from services.contract.questions import EventsAnswer, StoredEvent
from services.query.cohort_rules import Rule
from services.query.cohort_sql import in_cohort
from services.query.cursor import Position, write_cursor
from services.query.execute import QuestionStore
from services.query.filter_sql import filter_sql
from services.query.filters import Condition
from services.query.parameters import Parameters
from services.query.persons import JOIN_PERSONS, PERSON
from services.query.source import EVENTS_ONCE, IN_WINDOW, window_parameters
from services.query.window import Window, utc_time

_COLUMNS = (
    "e.event_id AS event_id, e.event AS event, e.distinct_id AS distinct_id, e.timestamp AS timestamp, "
    "e.received_at AS received_at, e.properties AS properties, e.idempotency_key AS idempotency_key, "
    "e.original_timestamp AS original_timestamp"
)


class EventsQuestion(Struct, frozen=True):
    """`after`: the last event of the page before."""

    window: Window
    conditions: list[Condition]
    limit: int
    descending: bool
    after: Position | None
    cohort: Rule | None = None

    def identity(self, project_id: str) -> bytes:
        """What a cursor is bound to."""
        ordered = sorted(repr((c.key, c.operator, c.operand)) for c in self.conditions)
        window = (self.window.since_us, self.window.until_us)
        return repr((project_id, window, ordered, self.cohort, self.descending)).encode()


async def answer_events(store: QuestionStore, project_id: str, question: EventsQuestion) -> EventsAnswer:
    sql, parameters = events_sql(project_id, question)
    rows = await store.rows(sql, parameters)
    page = rows[: question.limit]
    answer = EventsAnswer(events=[_event(row) for row in page])
    if len(rows) > len(page):
        last = page[-1]
        answer.next_cursor = write_cursor(Position(last[4], last[0].bytes), question.identity(project_id))
    return answer


def events_sql(project_id: str, question: EventsQuestion) -> tuple[str, dict[str, Any]]:
    """One row more than the limit, to know whether there is a next page."""
    found = filter_sql(question.conditions)
    of_cohort = Parameters("cohort")
    where = found.where + in_cohort(question.cohort, of_cohort)
    needs_persons = found.needs_persons or question.cohort is not None
    parameters = {
        **window_parameters(project_id, question.window),
        **found.parameters,
        **of_cohort.values,
        "limit": question.limit + 1,
    }
    direction = "DESC" if question.descending else "ASC"
    after = ""
    if question.after is not None:
        after = _after(question.after, question.descending, parameters)
    # The days first: the table is sorted by them, so that reading stops at the day that fills the page. A UUID
    # sorts by its second half first, the number made of it does not.
    order = f"toDate(timestamp) {direction}, timestamp {direction}, toUInt128(event_id) {direction}"
    page = (
        f"SELECT {_COLUMNS} FROM {EVENTS_ONCE} {JOIN_PERSONS if needs_persons else ''} "
        f"WHERE {IN_WINDOW}{where}{after} ORDER BY {order} LIMIT {{limit:UInt32}}"
    )
    return (
        f"SELECT e.event_id, e.event, e.distinct_id, {PERSON}, toUnixTimestamp64Micro(e.timestamp), "
        "toUnixTimestamp64Micro(e.received_at), e.properties, e.idempotency_key, e.original_timestamp "
        f"FROM ({page}) AS e {JOIN_PERSONS} ORDER BY {order}"
    ), parameters


def _after(position: Position, descending: bool, parameters: dict[str, Any]) -> str:
    """The position narrows the window; among events of its very time the id decides."""
    if descending:
        parameters["until"] = position.time_us + 1
    else:
        parameters["since"] = position.time_us
    parameters["after"] = position.time_us
    parameters["after_id"] = uuid.UUID(bytes=position.id)
    return (
        " AND (e.timestamp != fromUnixTimestamp64Micro({after:Int64}, 'UTC')"
        f" OR toUInt128(e.event_id) {'<' if descending else '>'} toUInt128({{after_id:UUID}}))"
    )


def _event(row: Sequence[Any]) -> StoredEvent:
    event_id, event, distinct_id, person_id, time_us, received_us, properties, key, original = row
    return StoredEvent(
        event_id=str(event_id),
        event=event,
        distinct_id=distinct_id,
        person_id=person_id,
        timestamp=utc_time(time_us),
        received_at=utc_time(received_us),
        properties=Raw(properties.encode() or b"{}"),
        idempotency_key=key or None,
        original_timestamp=original or UNSET,
    )
