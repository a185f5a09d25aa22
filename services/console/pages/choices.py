"""What selects of the builders offer: values as the API has them, and what a reader sees."""

from services.console.queries.cohorts import KINDS, TIMES
from services.console.queries.filters import OPERATORS
from services.console.queries.parts import UNITS
from services.console.queries.windows import CUSTOM, RANGES

CHOICES: dict[str, dict[str, str]] = {
    "ranges": {**RANGES, CUSTOM: "From … to …"},
    "operators": {"": OPERATORS["eq"], **{name: said for name, said in OPERATORS.items() if name != "eq"}},
    "measures": {
        "": "Number of events",
        "people": "People",
        "per_person": "Events per person",
        "sum": "Sum of",
        "avg": "Average of",
        "min": "Smallest",
        "max": "Largest",
        "percentile": "Percentile of",
    },
    "intervals": {"": "Day", "hour": "Hour", "week": "Week", "month": "Month"},
    "week_starts": {"": "Monday", "sunday": "Sunday"},
    "orders": {"": "In this order", "strict": "In this order, nothing between", "any": "In any order"},
    "modes": {"": "In that period", "on_or_after": "In that period or later"},
    "directions": {"": "After the start", "before": "Before it"},
    "comparisons": {"": "Nothing", "previous": "The period before"},
    "rules": {"": "…", **KINDS},
    "times": TIMES,
    "units": UNITS,
    "matches": {"": "all of these", "any": "any of these"},
}
