"""A cluster as pure functions see it: who is a majority, what is read from where, and why a topology is refused."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec import structs

from services.contract.tables import EVENTS, SHARDED, WHOLE
from services.runtime.clickhouse import ClickHouse
from services.runtime.cluster import (
    Replica,
    cluster_settings,
    on_replicas,
    own_table,
    replicas_of,
    settings_within,
    shards_without_majority,
)
from services.runtime.settings import ClickHouseSettings
from services.schema import topology as topology_module
from services.schema.topology import (
    MAX_LAG_S,
    Node,
    Topology,
    TopologyError,
    reasons_after,
    reasons_against,
    reasons_of_place,
)

_BY_CHANCE = "Distributed('shop', 'headrace', 'events_local', rand())"
_SHARDS = [(1, 1, 1, "a", 9000), (2, 1, 1, "b", 9000)]
THREE_AND_TWO = replicas_of([(1, "a", 1), (1, "b", 1), (1, "c", 1), (2, "d", 1), (2, "e", 1)])


@pytest.mark.parametrize(
    ("answered", "missing"),
    [
        ([1, 2, 3, 4, 5], {}),
        ([1, 2, 4, 5], {}),
        ([1, 4, 5], {1: "1 of 3"}),
        # A quorum of two is both.
        ([1, 2, 3, 4], {2: "1 of 2"}),
        ([], {1: "0 of 3", 2: "0 of 2"}),
    ],
)
def test_a_majority_of_each_shard(answered: list[int], missing: dict[int, str]) -> None:
    assert shards_without_majority(THREE_AND_TWO, answered) == missing


def test_one_server_is_asked_as_ever() -> None:
    assert dict(cluster_settings("")) == {}
    assert own_table(EVENTS, "") == EVENTS
    assert on_replicas("", EVENTS) == EVENTS


def test_a_cluster_acknowledges_by_quorum_whatever_a_profile_says() -> None:
    settings = cluster_settings("shop")
    assert settings["insert_quorum"] == "auto"
    assert settings["distributed_foreground_insert"] == 1
    assert settings["skip_unavailable_shards"] == 0
    assert {own_table(table, "shop") for table in SHARDED} == {"events_local"}


def _node(number: int, shard: int, replica: int) -> Node:
    engines = {EVENTS: "Distributed('shop', 'headrace', 'events_local', sipHash64(event_id))"}
    engines["events_local"] = "ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')"
    whole = "ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}', '{shard}_{replica}')"
    engines |= dict.fromkeys(WHOLE, whole)
    return Node(
        Replica(number, shard, f"host-{number}:9000"),
        {"shard": f"0{shard}", "replica": f"0{replica}"},
        engines,
        [("events_local", False, 0, 2), ("person_ids", False, 0, 4)],
        _SHARDS,
        columns={"events_local": frozenset({"event", "groups"}), "usage": frozenset({"day"})},
    )


def _topology() -> Topology:
    nodes = [_node(1, 1, 1), _node(2, 1, 2), _node(3, 2, 1), _node(4, 2, 2)]
    return Topology("shop", ["default", "shop"], [node.replica for node in nodes], nodes, shards=_SHARDS)


def _with(**changes: object) -> Callable[[Topology], Topology]:
    """The second server is another."""

    def change(topology: Topology) -> Topology:
        nodes = list(topology.nodes)
        nodes[1] = structs.replace(nodes[1], **changes)
        return structs.replace(topology, nodes=nodes)

    return change


def test_a_cluster_as_it_should_be() -> None:
    assert list(reasons_against(_topology())) == []
    assert list(reasons_after(_topology())) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: structs.replace(t, replicas=[], nodes=[]), "remote_servers> has default, shop"),
        (lambda t: structs.replace(t, writes_to_all=True), "internal_replication"),
        (_with(macros={"shard": "01"}), "host-2:9000 has no <macros> replica"),
        (_with(macros={}), "host-2:9000 has no <macros> shard, replica"),
        (_with(macros={"shard": "01", "replica": "01"}), "shard 1 have the same macro {replica}"),
        (_with(macros={"shard": "03", "replica": "02"}), "shard 1 say different macros {shard}: 01, 03"),
        # Of weight, of order, and of fewer shards.
        (_with(shards=[(1, 2, 1, "a", 9000), (2, 1, 1, "b", 9000)]), "host-2:9000 knows other servers of shop"),
        (_with(shards=[(1, 1, 1, "b", 9000), (2, 1, 1, "a", 9000)]), "host-2:9000 knows other servers of shop"),
        (_with(shards=[(1, 1, 1, "a", 9000)]), "host-2:9000 knows other servers of shop"),
        (_with(version="26.7.3.1"), "host-2:9000 is ClickHouse 26.7.3.1: upgrade it to 26.8 or newer"),
    ],
)
def test_no_tables_are_made_on_it(change: Callable[[Topology], Topology], says: str) -> None:
    assert any(says in reason for reason in reasons_against(change(_topology())))


def test_shards_with_one_name() -> None:
    topology = _topology()
    nodes = [structs.replace(node, macros={**node.macros, "shard": "01"}) for node in topology.nodes]
    topology = structs.replace(topology, nodes=nodes)
    assert any("Shards 1 and 2 have the same macro {shard}" in reason for reason in reasons_against(topology))


def _engines(**changes: str | None) -> dict[str, str]:
    engines = {**_node(2, 1, 2).engines, **{name: text or "" for name, text in changes.items()}}
    return {name: text for name, text in engines.items() if text}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_with(engines=_engines(events=None)), "events of host-2:9000 does not show all shards"),
        (_with(engines=_engines(events="Distributed('other', 'headrace')")), "does not show all shards of shop"),
        (
            _with(engines=_engines(events=_BY_CHANCE)),
            "events of host-2:9000 does not send rows to the shard of their event_id",
        ),
        (_with(engines=_engines(events_moving="ReplacingMergeTree ORDER BY e")), "host-2:9000 has 1 tables whose rows"),
        (_with(engines=_engines(events_local=None)), "has no table events_local: run `headrace migrate`"),
        (_with(engines=_engines(events_local="ReplacingMergeTree")), "events_local of host-2:9000 does not replicate"),
        (_with(engines=_engines(person_ids=None)), "has no table person_ids"),
        (_with(engines={}), "host-2:9000 has no table of headrace, or our user may see none"),
        (
            _with(engines=_engines(person_ids="ReplicatedReplacingMergeTree('/t/{uuid}/{shard}', '{replica}')")),
            "person_ids of host-2:9000 has rows of its shard alone",
        ),
        (
            _with(engines=_engines(person_ids="ReplacingMergeTree(version)")),
            "person_ids of host-2:9000 does not replicate",
        ),
        (_with(copies=[("events_local", True, 0, 2)]), "is read only"),
        (
            _with(copies=[("events_local", False, 0, 1)]),
            "1 replicas of events_local of host-2:9000, and 2 servers have it",
        ),
        (_with(copies=[("person_ids", False, 0, 1)]), "1 replicas of person_ids of host-2:9000, and 4 servers have it"),
        (_with(copies=[("events_local", False, MAX_LAG_S + 1, 2)]), "301 s behind the other replicas"),
        (_with(copies=[("events_local", False, 0, 5)]), "Keeper knows 5 replicas of events_local, the cluster has 2"),
        (_with(copies=[("person_ids", False, 0, 8)]), "Keeper knows 8 replicas of person_ids, the cluster has 4"),
        (
            _with(columns={"events_local": frozenset({"event"}), "usage": frozenset({"day"})}),
            "events_local of host-2:9000 is of an older version: it has no column groups.",
        ),
    ],
)
def test_services_do_not_start_on_it(change: Callable[[Topology], Topology], says: str) -> None:
    assert any(says in reason for reason in reasons_after(change(_topology())))


def test_a_promoted_property_may_be_missing() -> None:
    has = frozenset({"event", "groups", "property_plan"})
    assert list(reasons_after(_with(columns={"events_local": has})(_topology()))) == []


def test_a_replica_that_is_away_is_no_reason_to_refuse() -> None:
    """Nor one that was away when the tables were made."""
    topology = _topology()
    copies = [("events_local", False, 0, 1), ("person_ids", False, 0, 3), ("usage", False, 0, 0)]
    second = structs.replace(topology.nodes[1], copies=copies)
    topology = structs.replace(topology, nodes=[second, *topology.nodes[2:]])
    assert list(reasons_after(topology)) == []
    assert topology.without_majority() == {1: "1 of 2"}


_OLD = {"events": "ReplacingMergeTree ORDER BY event", "schema_migrations": "ReplacingMergeTree ORDER BY name"}
_PUT_ASIDE = {"events_moving": "ReplacingMergeTree ORDER BY event", "schema_migrations": "ReplicatedReplacingMergeTree"}


@pytest.mark.parametrize(
    ("others", "here", "says"),
    [
        ({}, {}, None),
        ({}, _OLD, None),
        (_OLD, {}, "host-2:9000 has the tables of an installation, and the server that was asked has not"),
        (_OLD, _OLD, "host-1:9000, host-2:9000 have an installation each"),
        (_PUT_ASIDE, {"schema_migrations": "ReplicatedReplacingMergeTree"}, "host-2:9000 has the tables"),
        ({"schema_migrations": "ReplicatedReplacingMergeTree"}, {}, "host-2:9000 has the tables"),
        ({}, _PUT_ASIDE, None),
        # A server that had joined a cluster with an installation of its own made its tables apart.
        (_engines(), _OLD, "host-1:9000 has an installation of its own, and host-2:9000 that of the cluster"),
        (_OLD, _engines(), "host-2:9000 has an installation of its own, and host-1:9000 that of the cluster"),
        (_engines(), _engines(), None),
    ],
)
def test_tables_are_made_from_the_server_that_has_the_installation(
    others: dict[str, str], here: dict[str, str], says: str | None
) -> None:
    topology = _with(engines=others)(_topology())
    nodes = [structs.replace(topology.nodes[0], engines=here), topology.nodes[1]]
    reasons = list(reasons_of_place(structs.replace(topology, nodes=nodes), here.items()))
    assert (says is None and not reasons) or (len(reasons) == 1 and str(says) in reasons[0])


class Renaming(ClickHouse):
    """Says the tables of the server that is asked, as they are at the next time."""

    def __init__(self, *tables: dict[str, str]) -> None:
        super().__init__(ClickHouseSettings(clickhouse_cluster="shop"))
        self._tables = list(tables)

    async def rows(self, sql: str, parameters: Any = None, settings: Any = None) -> list[Sequence[Any]]:
        return list(self._tables.pop(0).items())


_DONE = {"events": _engines()["events"], "schema_migrations": "ReplicatedReplacingMergeTree"}


@pytest.mark.parametrize(
    ("before", "seen", "after"),
    [(_OLD, _OLD, _PUT_ASIDE), (_OLD, _PUT_ASIDE, _PUT_ASIDE), (_PUT_ASIDE, _PUT_ASIDE, _DONE), (_OLD, _OLD, _DONE)],
)
async def test_tables_that_another_migration_renames_meanwhile_are_here(
    before: dict[str, str], seen: dict[str, str], after: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were taken for those of another server."""

    async def read_topology(*_: object) -> Topology:
        topology = _topology()
        empty = [structs.replace(node, engines={}) for node in topology.nodes]
        return _with(engines=seen)(structs.replace(topology, nodes=empty))

    monkeypatch.setattr(topology_module, "read_topology", read_topology)
    await topology_module.refuse_topology(Renaming(before, after), ClickHouseSettings(clickhouse_cluster="shop"))
    with pytest.raises(TopologyError, match="the server that was asked has not"):
        await topology_module.refuse_topology(Renaming({}, {}), ClickHouseSettings(clickhouse_cluster="shop"))


def test_the_silence_of_a_shard_leaves_time_to_do_without_it() -> None:
    assert settings_within("", 20) == {}
    usual = cluster_settings("shop")
    assert settings_within("shop", 20) == {name: usual[name] for name in ("receive_timeout", "handshake_timeout_ms")}
    assert settings_within("shop", 3) == {"receive_timeout": 1, "handshake_timeout_ms": 500}
