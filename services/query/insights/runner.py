"""How a query of any kind gets its turn, and its result."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from time import monotonic
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace
from xxhash import xxh3_128

from services.query.execution.executor import NOTHING_KNOWN, SECONDS, Known, QueryExecutor
from services.query.execution.fingerprint import Fingerprints, Months
from services.query.execution.kept_results import KeptResults
from services.query.execution.materialized_columns import MaterializedColumns
from services.query.execution.missing_shards import MissingShards
from services.query.execution.project_facts import ProjectFacts
from services.query.execution.promoter import Promoter
from services.query.execution.turns import StoreTurns
from services.query.insights.dependencies import key_of, months_read, properties_read
from services.query.insights.registry import INSIGHTS, Asked, Result
from services.query.sql.parameters import NONE_PROMOTED, Promoted
from services.runtime.clickhouse import StoreUnavailableError, UnknownColumnError

T = TypeVar("T")

# How long what was read before a query is taken for true.
_STILL_SO_S = 1.0
_encode = msgspec.json.Encoder().encode


class Answer(Struct, frozen=True):
    """JSON; None where the client has it already. `tag`: of the query and of the data that it was made of."""

    body: bytes | None
    tag: str | None = None


class InsightRunner:
    """Runs queries, each in its project's turn and with its share of memory."""

    def __init__(
        self,
        turns: StoreTurns,
        columns: MaterializedColumns,
        promoter: Promoter,
        facts: ProjectFacts,
        fingerprints: Fingerprints,
        kept: KeptResults,
        missing: MissingShards,
    ) -> None:
        """`missing`: where a shard is away that may be, the others' answer is given, and says that it is partial."""
        self._turns = turns
        self._columns = columns
        self._promoter = promoter
        self._facts = facts
        self._fingerprints = fingerprints
        self._kept = kept
        self._missing = missing
        self._read_without_columns = 0  # times

    async def answer(
        self, project_id: str, asked: Asked, warnings: Sequence[str], now: datetime, known: Collection[str] = ()
    ) -> Answer:
        """As `run`, encoded; kept from before where the data are still the same. `known`: tags of what the client has."""
        key = key_of(project_id, asked, list(warnings), now)
        return await self.kept(
            project_id,
            key,
            months_read(asked),
            lambda data: self.run(project_id, asked, warnings, data),
            known,
        )

    async def kept(
        self,
        project_id: str,
        key: bytes,
        months: Months,
        make: Callable[[Known], Awaitable[Result]],
        known: Collection[str] = (),
    ) -> Answer:
        """What `make` gives, encoded; it is told what is known of the data, see `read`. Its tag says what the data were before:
        should they change while it is made, no later fingerprint is equal, so that it is not given again."""
        fingerprint = None
        if not await self._missing.is_one_away():
            fingerprint = await self._fingerprints.read(months)
            if fingerprint is None:
                self._missing.suspect()
        if fingerprint is None:
            return Answer(_encode(await make(NOTHING_KNOWN)))
        before = fingerprint.of_all
        # Promoted properties say what the text says; should one not, it is another answer. The border is the one that the
        # statements are given, which may be older than the fingerprint.
        border = await self._facts.kept_since_us(project_id)
        key = xxh3_128(key + repr((border, sorted(self._columns.keys))).encode()).digest()
        tag = xxh3_128(key + before).hexdigest()
        if tag in known:
            return Answer(None, tag)
        body = self._kept.get(key, before)
        if body is not None:
            return Answer(body, tag)
        read_without = self._read_without_columns
        nothing_deleted = await self._facts.nothing_deleted(project_id, fingerprint.deletions)
        result = await make(Known(nothing_deleted, fingerprint.fresh))
        body = _encode(result)
        is_other = self._read_without_columns != read_without or await self._facts.kept_since_us(project_id) != border
        if is_other or getattr(result, "partial", UNSET) is not UNSET:
            return Answer(body)
        self._kept.put(key, before, body)
        return Answer(body, tag)

    async def run(
        self, project_id: str, asked: Asked, warnings: Sequence[str] = (), data: Known = NOTHING_KNOWN
    ) -> Result:
        """The result of a query, with what was ignored of its body. Raises ApiError, StoreError."""
        result = await self._result(project_id, asked, data)
        if asked.window is not None:
            result.window = asked.window
        if asked.before is not None:
            result.previous = await self.run(project_id, asked.before, (), data)
            if result.previous.partial is not UNSET:
                result.partial = True
        result.warnings = list(warnings) or UNSET
        return result

    async def _result(self, project_id: str, asked: Asked, data: Known) -> Result:

        async def run(store: QueryExecutor, promoted: Promoted) -> Result:
            since = monotonic()
            result = await INSIGHTS[asked.kind].run(store, project_id, asked.spec, promoted)
            self._promoter.note(properties_read(asked.spec) - promoted, monotonic() - since)
            return result

        if not await self._missing.is_one_away():
            try:
                return await self.read(project_id, asked.kind, run, data)
            except StoreUnavailableError:
                if not self._missing.may_be_skipped:
                    raise
                self._missing.suspect()
        result: Result = await self.read(
            project_id,
            asked.kind,
            lambda store, promoted: run(store.without_missing_shards(), promoted),
        )
        result.partial = True
        return result

    async def read(
        self,
        project_id: str,
        name: str,
        work: Callable[[QueryExecutor, Promoted], Awaitable[T]],
        data: Known = NOTHING_KNOWN,
    ) -> T:
        """What `work` gives in the project's turn, with the properties that have a column; it may be called again.

        `data`: as they were when this was asked. Whoever has waited for the turn looks for deletions again.
        """
        asked_at = monotonic()

        async def run(store: QueryExecutor) -> T:
            still_so = monotonic() - asked_at < _STILL_SO_S
            store = store.knowing(data if still_so else replace(data, nothing_deleted=False))
            try:
                return await work(store, self._columns.keys)
            except UnknownColumnError:
                self._read_without_columns += 1
                # Demoted since the columns were listed, or not yet there on a replica; the whole text is always there.
                return await work(store, NONE_PROMOTED)

        with SECONDS.labels(name).time():
            return await self._turns.run(project_id, run)
