"""What the buttons of a form do to it where there is no script: `do=add:f`, `do=remove:f.0`, `do=up:s.1`."""

from services.console.queries.params import Params, is_number, under

DO = "do"


def edited(params: Params) -> Params:
    """The form after its button was pressed."""
    action, _, place = params.one(DO).partition(":")
    rest = params.without(DO)
    if action == "add":
        return _added(rest, place)
    parent, _, number = place.rpartition(".")
    if not is_number(number):
        return rest
    if action == "remove":
        return _removed(rest, parent, int(number))
    if action == "up":
        return _raised(rest, parent, number)
    return rest


def _added(params: Params, place: str) -> Params:
    """A row more; of a name that may stand several times, one more."""
    if params.all(place):
        return params.plus((place, ""))
    numbers = params.below(place).numbers()
    number = int(numbers[-1]) + 1 if numbers else 0
    return params.plus((f"{place}.{number}.new", "1"))


def _removed(params: Params, parent: str, number: int) -> Params:
    values = params.all(parent)
    if values:
        left = [(parent, value) for i, value in enumerate(values) if i != number]
        return params.without(parent).plus(*under(parent, params.below(parent).pairs), *left)
    return params.without(f"{parent}.{number}")


def _raised(params: Params, parent: str, number: str) -> Params:
    """Changes places with the row before it."""
    numbers = params.below(parent).numbers()
    at = numbers.index(number) if number in numbers else 0
    if at == 0:
        return params
    names = {numbers[at]: numbers[at - 1], numbers[at - 1]: numbers[at]}
    return Params((_renamed(key, parent, names), value) for key, value in params.pairs)


def _renamed(key: str, parent: str, names: dict[str, str]) -> str:
    start = f"{parent}."
    number, dot, rest = key.removeprefix(start).partition(".")
    return f"{start}{names[number]}{dot}{rest}" if key.startswith(start) and number in names else key
