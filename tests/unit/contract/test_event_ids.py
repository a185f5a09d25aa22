"""The event id: equal exactly where project and key are equal. These values are in stored data: they must not change."""

import pytest

from services.contract.log.event_ids import fresh_ids, id_of_key, project_prefix


@pytest.mark.parametrize(
    ("project", "key", "event_id"),
    [
        ("shop", "order-1", "673e97ee82a71c752bba0ea6626dfbf2"),
        ("shop", "", "9fbd2fa838062b8402da0ce08ac32e52"),
        ("läden", "schlüssel-😀", "a58b72d80c1f4b6675ea774cd511a678"),
    ],
)
def test_ids_stay_what_they_are(project: str, key: str, event_id: str) -> None:
    assert id_of_key(project, key).hex() == event_id


def test_projects_keys_and_their_border_all_count() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ("a", "b"), ("A", "bc"), ("a", "bC"), ("a", "bc ")]
    assert len({id_of_key(project, key) for project, key in pairs}) == len(pairs)


def test_a_key_cannot_reach_into_another_project() -> None:
    """Also not one that spells out the other project's prefix."""
    forged = project_prefix("victim").decode("latin-1") + "key"
    assert id_of_key("attacker", forged) != id_of_key("victim", "key")


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_fresh_ids_are_all_different(count: int) -> None:
    ids = fresh_ids(count)
    assert len(set(ids)) == count
    assert all(len(event_id) == 16 for event_id in ids)
