"""Names for the values of a query: they travel beside the SQL, as ClickHouse's server-side parameters."""

from typing import Any

from msgspec import Struct, field

# Keys of the properties that have a column of their own.
Promoted = frozenset[str]
NONE_PROMOTED: Promoted = frozenset()


class Parameters(Struct):
    """Names the values of one part of a query: f0, f1, ... Parts of one query need different prefixes.

    `promoted`: the properties that this part may read from columns of their own.
    """

    prefix: str = "f"
    promoted: Promoted = NONE_PROMOTED
    values: dict[str, Any] = field(default_factory=dict)
    aliases: int = 0

    def add(self, value: Any, kind: str) -> str:
        """The value's place in the SQL; `kind` is its ClickHouse type."""
        name = f"{self.prefix}{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{kind}}}"

    def alias(self) -> str:
        """A name for an expression, which no other has."""
        self.aliases += 1
        return f"{self.prefix}_{self.aliases:d}"
