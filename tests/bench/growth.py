"""Part 6: how it grows with partitions and workers, with the ids in the index, and with the events of a request."""

from tests.bench.dedupe import measure_index
from tests.bench.edge_batches import batch_row
from tests.bench.end_to_end import start_services
from tests.bench.flow import CONNECTIONS, find_capacity
from tests.bench.plan import Plan
from tests.bench.results import Results, Row
from tests.bench.stack import Stack

PART = 6
PARTITIONS = (1, 2, 4, 8)
WORKERS = (1, 2)
BODY_EVENTS = (1, 10, 100, 1000)


def measure(stack: Stack, plan: Plan, results: Results) -> None:
    _partitions(stack, plan, results)
    _bodies(stack, plan, results)
    _index(stack, plan, results)


def _partitions(stack: Stack, plan: Plan, results: Results) -> None:
    stack.share_cores()
    series = results.growth.setdefault("partitions", [])
    for workers in WORKERS:
        for partitions in PARTITIONS:
            if partitions < workers:
                continue
            with stack.pipeline("grown", partitions) as pipeline:
                port = start_services(pipeline, workers)
                capacity = find_capacity(pipeline, port, plan.capacity_s)
            in_all = sum(capacity.cpu_us.values())
            results.rows.append(
                Row(
                    part=PART,
                    name=f"partitions {partitions}, workers {workers}",
                    rate=capacity.rate,
                    cpu_us=capacity.cpu_us,
                    more={"µs in all": in_all},
                    how=f"closed loop, {CONNECTIONS} connections, batches of 1000, {plan.capacity_s:g} s, until all is stored",
                    checked=f"{capacity.accepted:,} accepted and stored",
                )
            )
            series.append({"partitions": partitions, "workers": workers, "events_s": capacity.rate, "cpu_us": in_all})


def _bodies(stack: Stack, plan: Plan, results: Results) -> None:
    stack.use_second_core()
    series = results.growth.setdefault("bodies", [])
    for events in BODY_EVENTS:
        with stack.pipeline("bodies") as pipeline:
            port = pipeline.start_edge(cores={stack.cores[0]})
            row = batch_row(f"events a request {events}", pipeline, port, plan, "plain", events)
        row.part = PART
        results.rows.append(row)
        series.append({"events": events, "events_s": row.rate, "edge_us": row.cpu_us["edge"]})


def _index(stack: Stack, plan: Plan, results: Results) -> None:
    series = results.growth.setdefault("index", [])
    for ids in plan.index_sizes:
        figures = measure_index(ids, stack.cores[0])
        results.rows.append(
            Row(
                part=PART,
                name=f"index of {ids:,} ids",
                rate=figures.lookups_s,
                unit="lookups/s",
                more={
                    "bytes an id": figures.bytes_an_id,
                    "resident bytes an id": figures.rss_bytes_an_id,
                    "adds/s": figures.adds_s,
                    "longest add, ms": figures.longest_add_s * 1000,
                },
                how=f"python -m tests.bench.index_size {ids}",
            )
        )
        series.append({"ids": ids, "bytes_an_id": figures.bytes_an_id, "lookups_s": figures.lookups_s})
