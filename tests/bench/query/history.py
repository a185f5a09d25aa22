"""A realistic history as SQL: the same seed and size give the same events, whatever wrote them. Pure.

People come in sessions of eight events within minutes; few people have most sessions; few event names most events.
Events arrive in order of time, as blocks of a live system do. Properties are 12, of all JSON types, about 250 bytes.
"""

from datetime import UTC, datetime, timedelta

from msgspec import Struct

PROJECT = "project_0"
BEGIN = datetime(2025, 9, 1, tzinfo=UTC)
DAYS = 90
# The month that queries ask about.
SINCE, UNTIL = datetime(2025, 10, 1, tzinfo=UTC), datetime(2025, 11, 1, tzinfo=UTC)
# Of the funnel, from its first step on.
CONVERSION = timedelta(days=7)
FUNNEL = ("app_opened", "page_viewed", "product_viewed", "cart_updated", "order_completed")
MERGED_PERCENT = 3
# A property with a column of its own; all other queries read other ones.
PROMOTED = "plan"

_EVENTS_EACH_ID = 20
_SESSION_EVENTS = 8
_NAMED = (
    *("app_opened", "page_viewed", "product_viewed", "search_performed", "product_clicked", "cart_updated"),
    *("video_played", "checkout_started", "review_read", "order_completed"),
)
NAMES = (*_NAMED, *(f"feature_{i}_used" for i in range(len(_NAMED) + 1, 41)))
_COUNTRIES = [
    "de",
    "us",
    "fr",
    "gb",
    "nl",
    "es",
    "it",
    "pl",
    "se",
    "at",
    "ch",
    "be",
    "dk",
    "no",
    "fi",
    "pt",
    "cz",
    "ie",
    "gr",
    "hu",
]


class History(Struct, frozen=True):
    """So many events; one id for every 20 of them, of which the most active four fifths or so are seen."""

    events: int
    seed: int = 1

    @property
    def ids(self) -> int:
        return self.events // _EVENTS_EACH_ID

    def insert_events(self, table: str, first: int, count: int) -> str:
        """INSERT of the events numbered from `first` on."""
        return (
            f"INSERT INTO {table} (project_id, event_id, event, distinct_id, timestamp, received_at, properties, "
            f"idempotency_key, original_timestamp) {self._rows(first, count)}"
        )

    def insert_merges(self, table: str, ids: int, percent: int) -> str:
        """INSERT of merged ids: `percent` of the ids up to `ids`, the first ones of each hundred, one person each."""
        columns = "project_id, distinct_id, person_id, version"
        person = f"id - id % {min(percent, 2) if percent == 100 else 100}"
        return (
            f"INSERT INTO {table} ({columns}) WITH number AS id "
            f"SELECT '{PROJECT}', {self._id_text('id')}, {self._id_text(f'({person})')}, 1 "
            f"FROM numbers({ids}) WHERE id % 100 < {percent}"
        )

    def insert_groups(self, table: str) -> str:
        """INSERT of `group` calls: each id joins one of 5000 companies early on, every tenth another one later."""
        start_us, third_us = int(BEGIN.timestamp()) * 1_000_000, int(timedelta(days=DAYS).total_seconds()) * 333_333
        columns = "project_id, event_id, kind, distinct_id, timestamp, received_at, group_type, group_key, traits"
        return (
            f"INSERT INTO {table} ({columns}) WITH number % {self.ids} AS id, "
            f"fromUnixTimestamp64Micro(toInt64({start_us} + intDiv(number, {self.ids}) * 2 * {third_us} + "
            f"{self._number('number', 11)} % {third_us}), 'UTC') AS time "
            f"SELECT '{PROJECT}', reinterpretAsUUID(sipHash128(number, {self.seed}, 'group')), 'group', "
            f"{self._id_text('id')}, time, time, 'company', "
            f"concat('company_', toString({self._number('number', 12)} % 5000)), '{{}}' FROM numbers({2 * self.ids}) "
            f"WHERE number < {self.ids} OR id % 10 = 0"
        )

    def _rows(self, first: int, count: int) -> str:
        start_us = int(BEGIN.timestamp()) * 1_000_000
        span_s = int(timedelta(days=DAYS).total_seconds())
        session = f"intDiv({_SESSION_EVENTS} * session * {span_s}, {self.events}) * 1000000"
        return (
            f"WITH intDiv(number, {_SESSION_EVENTS}) AS session, number % {_SESSION_EVENTS} AS step, "
            f"toUInt64(pow({self._unit('session', 1)}, 2) * {self.ids}) AS id, "
            # A session begins within the hour, its events are 0 to 90 s apart.
            f"toInt64({start_us} + {session} + {self._number('session', 2)} % 3600000000 + step * 45000000 "
            f"+ {self._number('number', 3)} % 45000000) AS us, "
            f"{self._number('number', 4)} AS a, {self._number('number', 5)} AS b, {self._number('session', 6)} AS c "
            f"SELECT '{PROJECT}', reinterpretAsUUID(sipHash128(number, {self.seed})), "
            f"{list(NAMES)}[toUInt32(floor(pow({len(NAMES) + 1}, {self._unit('number', 7)})))], "
            f"{self._id_text('id')}, fromUnixTimestamp64Micro(us, 'UTC'), "
            f"fromUnixTimestamp64Micro(us + toInt64(a % 3000000), 'UTC'), {self._properties()}, "
            f"lower(hex(sipHash128(number, {self.seed}, 'key'))), '' FROM numbers({first}, {count})"
        )

    def _properties(self) -> str:
        country = self._skewed(_COUNTRIES, 8)
        plan = self._skewed(["free", "pro", "team", "enterprise"], 9)
        parts = [
            """'{"session_id":"'""",
            "hex(c)",
            """'","platform":"'""",
            "['web', 'ios', 'android'][c % 3 + 1]",
            """'","channel":"'""",
            "['direct', 'organic', 'paid_search', 'email', 'referral'][intDiv(c, 7) % 5 + 1]",
            """'","path":"/products/'""",
            "toString(a % 20000)",
            """'","price":'""",
            "toString(round(b % 20000 / 100, 2))",
            """',"quantity":'""",
            "toString(a % 5 + 1)",
            """',"member":'""",
            "if(id % 4 = 0, 'true', 'false')",
            f"""if(b % 5 = 0, '', concat(',"plan":"', {plan}, '"'))""",
            """',"country":"'""",
            country,
            """'","referrer":'""",
            """if(c % 3 = 0, 'null', concat('"https://example.org/', toString(c % 500), '"'))""",
            """',"tags":["a'""",
            "toString(a % 7)",
            """'","b'""",
            "toString(b % 11)",
            """'"],"device":{"os":"'""",
            "['mac', 'windows', 'linux', 'ios', 'android'][c % 5 + 1]",
            """'","version":'""",
            "toString(c % 20)",
            "'}}'",
        ]
        return f"concat({', '.join(parts)})"

    def _id_text(self, number: str) -> str:
        """Two fifths are known users, the others carry the random ids of devices."""
        return (
            f"if({self._number(number, 10)} % 5 < 2, concat('user_', toString({number})), "
            f"toString(reinterpretAsUUID(sipHash128({number}, {self.seed}))))"
        )

    def _skewed(self, values: list[str], salt: int) -> str:
        return f"{values}[toUInt32(floor({len(values)} * pow({self._unit('id', salt)}, 2))) + 1]"

    def _number(self, of: str, salt: int) -> str:
        return f"cityHash64({of}, {self.seed * 1000 + salt})"

    def _unit(self, of: str, salt: int) -> str:
        """From 0 to below 1."""
        return f"(bitShiftRight({self._number(of, salt)}, 11) / 9007199254740992.)"
