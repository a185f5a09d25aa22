"""The kinds of queries: one row each, with the parts that the API's body of that kind has."""

from msgspec import Struct

from services.console.queries import parts
from services.console.queries.params import Params
from services.console.queries.parts import Body, Part, read_parts, write_parts


class Kind(Struct, frozen=True):
    """`name`: of the API's call, and the type of a saved query. `page`: where its builder is."""

    name: str
    page: str
    title: str
    parts: tuple[Part, ...]

    def body(self, params: Params) -> Body:
        """What the API is asked. Raises QueryError."""
        return read_parts(params, self.parts)

    def params(self, body: Body) -> Params:
        """The address of a query: what `body` makes the same body of."""
        return Params(write_parts(body, self.parts))


def has_buckets(kind: Kind) -> bool:
    """Whether its answer is counted in time buckets."""
    return any("interval" in part.fields for part in kind.parts)


_WHO = (parts.conditions("filter", "f"), parts.cohort(), parts.text("aggregate_by", "by"))
_BUCKETS = (parts.value("interval", "interval"), parts.value("week_start", "week_start"))
_BREAKDOWN = (parts.text("breakdown", "breakdown"), parts.value("top", "top"))

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="trends",
            page="trends",
            title="Trends",
            parts=(
                parts.listed(
                    "series",
                    "s",
                    (
                        parts.events("event", "event"),
                        parts.conditions("filter", "f"),
                        parts.value("measure", "measure"),
                        parts.text("property", "property"),
                        parts.value("percentile", "percentile"),
                    ),
                ),
                parts.window(),
                *_WHO,
                *_BUCKETS,
                *_BREAKDOWN,
            ),
        ),
        Kind(
            name="funnel",
            page="funnel",
            title="Funnel",
            parts=(
                parts.listed("steps", "s", (parts.events("event", "event"), parts.conditions("filter", "f"))),
                parts.window(),
                *_WHO,
                parts.value("order", "order"),
                parts.duration("conversion_window_seconds", "within"),
                *_BREAKDOWN,
                parts.value("people_of_step", "people_of_step"),
            ),
        ),
        Kind(
            name="retention",
            page="retention",
            title="Retention",
            parts=(
                parts.events("born_event", "born"),
                parts.conditions("born_filter", "bf"),
                parts.events("return_event", "back"),
                parts.conditions("return_filter", "rf"),
                parts.window(),
                *_WHO,
                *_BUCKETS,
                parts.value("mode", "mode"),
                parts.flag("first_time", "first_time"),
                parts.value("min_occurrences", "min"),
                *_BREAKDOWN,
            ),
        ),
        Kind(
            name="path",
            page="paths",
            title="Paths",
            parts=(
                parts.events("start_event", "start"),
                parts.text("end_event", "end"),
                parts.window(),
                *_WHO,
                parts.value("direction", "direction"),
                parts.value("max_depth", "depth"),
                parts.value("top", "top"),
                parts.flag("collapse_repeats", "collapse"),
                parts.duration("session_gap_seconds", "gap"),
            ),
        ),
        Kind(name="cohort", page="cohorts", title="Cohorts", parts=(parts.cohort(), parts.value("limit", "limit"))),
    )
}
