"""The query that an address asks: its form, the body for the API, and what is wrong with it."""

from typing import Any

from msgspec import Struct

from services.console.queries.edits import DO, edited
from services.console.queries.errors import QueryError
from services.console.queries.kinds import Kind
from services.console.queries.params import Pairs, Params
from services.console.queries.places import place_of
from services.console.queries.titles import title_of
from services.console.queries.windows import DEFAULT_RANGE, NAMES, said_range
from services.console.queries.words import in_words

# What a form says also where nothing was asked.
_NO_QUERY = (*NAMES, "new")
# Parameters that no field of a form shows.
_UNSEEN = ("limit",)
_LEAST_ROWS = {"trends": 1, "funnel": 2, "cohort": 1}
_ROWS = {"trends": "s", "funnel": "s", "cohort": "c"}


class Wrong(Struct, frozen=True):
    """`place`: the parameter that it is about, where it is about one. `detail`: the API's sentence, if it is another."""

    message: str
    place: str | None = None
    code: str = ""
    detail: str = ""

    def is_in(self, *names: str) -> bool:
        """Whether its place is one of these, or below one of them."""
        place = self.place or ""
        return any(place == name or place.startswith(f"{name}.") for name in names)


class Asked(Struct, frozen=True):
    """`params`: the form. `body` is None where nothing is asked (yet), or something is wrong with it."""

    kind: Kind
    params: Params
    body: dict[str, Any] | None = None
    wrong: Wrong | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said but when."""
        return not self.params.said().without(*_NO_QUERY)

    @property
    def title(self) -> str:
        """The query in one line."""
        return title_of(self.kind, self.body or {})

    @property
    def when(self) -> str:
        return said_range(self.body or {})

    @property
    def address(self) -> str:
        """The query as a query string."""
        return self.params.query()

    def refused(self, message: str, field: str | None, code: str) -> "Asked":
        """With the API's error at its field."""
        place = place_of(self.kind, self.params, field) if field else None
        if field is None or place is None or place in _UNSEEN:
            return Asked(self.kind, self.params, self.body, Wrong(message, None, code))
        said = in_words(message, code, field, self.params.one(place))
        return Asked(self.kind, self.params, self.body, Wrong(said, place, code, message))

    @property
    def form(self) -> Params:
        """With the rows that an empty form has."""
        params = self.params
        if not params.one("range") and not params.one("since"):
            params = params.plus(("range", DEFAULT_RANGE))
        rows = _ROWS.get(self.kind.name)
        if rows is None or params.below(rows).one("json"):
            return params
        numbers = params.below(rows).numbers()
        first_free = int(numbers[-1]) + 1 if numbers else 0
        missing = max(0, _LEAST_ROWS[self.kind.name] - len(numbers))
        return params.plus(*((f"{rows}.{first_free + i}.new", "1") for i in range(missing)))


def asked_of(kind: Kind, pairs: Pairs) -> Asked:
    """Of the parameters of an address. A button that changes the form asks nothing."""
    params = Params(pairs)
    if params.one(DO):
        return Asked(kind, edited(params))
    params = params.said()
    if not params.without(*_NO_QUERY):
        return Asked(kind, params)
    try:
        body = kind.body(_with_window(kind, params))
    except QueryError as error:
        return Asked(kind, params, wrong=Wrong(error.message, error.place))
    return Asked(kind, kind.params(body), body)


def _with_window(kind: Kind, params: Params) -> Params:
    """An address that does not say when is about the last days."""
    has_window = any("since" in part.fields for part in kind.parts)
    if not has_window or params.one("range") or params.one("since") or params.one("until"):
        return params
    return params.plus(("range", DEFAULT_RANGE))
