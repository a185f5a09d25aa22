"""What lists and profiles show of traits, of the rows of the identity log."""

import msgspec
import pytest

from services.query.persons.listed import folded_traits


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ('{"plan":"pro","plan":"free"}', '{"plan":"pro"}'),
        ('{"plan":[1],"\\u0070lan":"free"}', '{"plan":[1]}'),
        ('{"a":{"b":1,"b":2},"plan":18446744073709551616}', '{"a":{"b":1},"plan":18446744073709551616}'),
    ],
)
def test_a_trait_that_stands_twice_in_an_old_row_is_shown_as_filters_find_it(stored: str, shown: str) -> None:
    names = list(msgspec.json.decode(stored))
    assert msgspec.json.encode(folded_traits([(7, stored, names)])[7]).decode() == shown
