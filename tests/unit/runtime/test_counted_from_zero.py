"""Series of what seldom happens are there before it does: the first time is an increase then."""

from aiokafka import TopicPartition
from prometheus_client import REGISTRY

from services.contract.api.errors import ErrorCode
from services.edge.event_log.lost_end import LostEnd
from services.runtime.http_metrics import count_errors_from_zero
from services.worker.consumer.place import LOSSES
from services.worker.consumer.positions import count_from_zero
from services.worker.dead_letters import DEAD_LETTERS

TOPIC = "counted-from-zero"


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"headrace_{name}_total", labels)


def test_error_answers_of_a_service() -> None:
    assert value("http_errors", service="zero", code="internal_error") is None
    count_errors_from_zero("zero")
    assert {value("http_errors", service="zero", code=code.code) for code in ErrorCode} == {0.0}


def test_losses_of_assigned_partitions() -> None:
    assert value("worker_log_cuts", topic=TOPIC, partition="3") is None
    count_from_zero([TopicPartition(TOPIC, 3)])
    assert value("worker_log_cuts", topic=TOPIC, partition="3") == 0
    assert {value("worker_lost_records", topic=TOPIC, partition="3", reason=reason) for reason in LOSSES} == {0.0}
    assert value("worker_log_cuts", topic=TOPIC, partition="4") is None


def test_losses_of_an_edges_partitions() -> None:
    assert value("edge_lost_records", topic=TOPIC, partition="5") is None
    LostEnd(TOPIC, 5)
    assert value("edge_lost_records", topic=TOPIC, partition="5") == 0


def test_dead_letters_of_a_worker() -> None:
    (family,) = DEAD_LETTERS.collect()
    assert {"code": "unreadable_line"} in [sample.labels for sample in family.samples]
