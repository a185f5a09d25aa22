"""How brokers that are killed again and again start in half the time: with an archive of their loaded classes, and
without the compiler that pays only after minutes."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from services.devstack.apache_kafka import ApacheKafka
from services.devstack.kafka_jars import CACHE, KafkaJars

_FIRST_COMPILER_ONLY = "-XX:TieredStopAtLevel=1"


def quick_start_options(jars: KafkaJars) -> Sequence[str]:
    """Makes the archive when it is not there: some ten seconds, once a machine. Java leaves out one that does not fit."""
    name = hashlib.sha256(f"{jars.java} {jars.class_path}".encode()).hexdigest()[:16]
    archive = CACHE / f"kafka-{name}.classes"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        _make(archive, jars)
    return (_FIRST_COMPILER_ONLY, f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:cds=off")


def _make(archive: Path, jars: KafkaJars) -> None:
    """A node that starts and stops; all or nothing, for another process may look for the archive at the same time."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as made:
        partial = Path(made) / archive.name
        options = (_FIRST_COMPILER_ONLY, f"-XX:ArchiveClassesAtExit={partial}", "-Xlog:cds=off")
        with ApacheKafka(Path(made) / "node", jars, java_options=options):
            pass
        if partial.exists():
            partial.replace(archive)
