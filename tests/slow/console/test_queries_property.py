"""The address of a page holds the whole query, whatever it is: body -> address -> body is the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.console.queries.edits import edited
from services.console.queries.errors import QueryError
from services.console.queries.kinds import KINDS
from services.console.queries.params import Params
from tests.slow.console.bodies import BODIES, Bodies
from tests.support.examples import examples
from tests.unit.console.test_queries import params, text


@pytest.mark.parametrize(("name", "bodies"), BODIES.items())
def test_body_to_address_to_body(name: str, bodies: Bodies) -> None:
    kind = KINDS[name]

    @examples(60)
    @given(bodies)
    def same(body: dict[str, Any]) -> None:
        assert text(kind.body(params(kind.params(body).query()))) == text(body)

    same()


@examples(100)
@given(
    st.lists(st.tuples(st.text(max_size=12) | st.sampled_from(["s.0.event", "f.0.key", "c.0.kind", "do"]), st.text()))
)
def test_no_address_breaks_a_page(pairs: list[tuple[str, str]]) -> None:
    for kind in KINDS.values():
        asked = edited(Params(pairs))
        try:
            body = kind.body(asked)
        except QueryError:
            continue
        assert text(kind.body(kind.params(body))) == text(body)
