"""Which pages there are, in the order of the menu. `key`: `g` and this letter lead there."""

from msgspec import Struct

from services.contract.api.root_paths import CONSOLE_PATH


class Place(Struct, frozen=True):
    """An entry of the menu."""

    name: str
    path: str
    key: str

    def is_at(self, path: str) -> bool:
        """Whether the page of this path belongs to it."""
        return path == self.path or path.startswith(f"{self.path}/")


class Part(Struct, frozen=True):
    """Entries that belong together."""

    name: str
    places: tuple[Place, ...]


def _place(name: str, key: str, path: str = "") -> Place:
    return Place(name, f"{CONSOLE_PATH}/{path or name.lower()}", key)


NAVIGATION = (
    Part("Watch", (Place("Home", f"{CONSOLE_PATH}/", "e"), _place("Dashboards", "d"), _place("Live", "l"))),
    Part(
        "Ask",
        (
            _place("Trends", "t"),
            _place("Funnel", "f"),
            _place("Retention", "r"),
            _place("Paths", "w"),
            _place("Cohorts", "h"),
        ),
    ),
    Part("Data", (_place("People", "p"), _place("Groups", "o"), _place("Catalog", "c"))),
    Part("Project", (_place("Set-up", "s", "setup"),)),
)
