"""What Faust is told."""

from pathlib import Path

import faust

from services.runtime.settings import WorkerSettings
from services.worker.consumer.faust_app import faust_settings


def address_of(settings: WorkerSettings, folder: Path) -> str:
    return str(faust.App("x", **faust_settings(settings, str(folder))).conf.canonical_url)


def test_a_worker_has_one_address_wherever_it_listens(tmp_path: Path) -> None:
    """A member with a name of its own is given the assignment of its former self; Faust stops at another address."""
    first = address_of(WorkerSettings(worker_instance_id="a", worker_port=8003), tmp_path)
    assert address_of(WorkerSettings(worker_instance_id="a", worker_port=9003, worker_host="::1"), tmp_path) == first
