"""`python -m tests.bench.secure`: what TLS and a log-in cost an event. Two installations of this tree in turns on one
broker and one engine: `base` speaks plain text, `this` SASL_SSL with SCRAM-SHA-512."""

import os
import signal
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console

from services.devstack.broker import ApacheKafka, Broker, find_kafka_jars
from tests.bench.against.__main__ import take_turns
from tests.bench.against.build import this_build
from tests.bench.against.figures import Side, compare_all, parse_parts
from tests.bench.against.installation import Installation
from tests.bench.against.report import Report
from tests.bench.against.turn import BATCHES, END_TO_END, PARTS, SINGLES, shapes_of
from tests.bench.machine import describe_machine, stolen_since
from tests.bench.stack import BROKER_SETTINGS, ROOT, Stack
from tests.support.secure_kafka import SecureKafka

_USER = "tools"
# With Java's second compiler, unlike other benchmarks: the first has no instructions of the processor for AES.
_JAVA_OPTIONS = ("-Xms512m", "-XX:+AlwaysPreTouch")


class SecureStack(Stack):
    """Its broker takes plain text and SASL_SSL, each at a port of its own."""

    kafka: SecureKafka

    def _make_broker(self) -> Broker:
        # ACLs are looked up for both alike; these users may do everything.
        settings = {**BROKER_SETTINGS, "super.users": f"User:ANONYMOUS;User:{_USER}"}
        self.kafka = SecureKafka(self.scratch / "kafka", find_kafka_jars(), settings, _JAVA_OPTIONS)
        node: ApacheKafka = self.kafka.node
        return node


class SecureInstallation(Installation):
    """Speaks TLS to Kafka, and logs in."""

    @property
    def env(self) -> dict[str, str]:
        assert isinstance(self.stack, SecureStack)
        values = self.stack.kafka.as_user(_USER)
        return super().env | {f"HEADRACE_KAFKA_{name.upper()}": value for name, value in values.items()}


def main(
    only: Annotated[str, typer.Option(help="Parts, as bench-against has them.")] = f"{BATCHES},{SINGLES},{END_TO_END}",
    turns: Annotated[int, typer.Option(min=1, help="How often each takes its turn.")] = 10,
    out: Annotated[Path, typer.Option(help="The JSON file.")] = ROOT / ".data" / "bench" / "secure.json",
) -> None:
    """Compare what an event costs by plain text and by SASL_SSL."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(width=None if os.isatty(1) else 140)
    build, parts = this_build(), parse_parts(only, PARTS)
    with SecureStack() as stack:
        machine = describe_machine(stack)
        stack.use_second_core()
        with Installation(stack, build, "plain") as one, SecureInstallation(stack, build, "secure") as two:
            both: dict[Side, Installation] = {"base": one, "this": two}
            for installation in both.values():
                installation.start_all(worker=True)
                for shape in shapes_of(parts):
                    installation.prepare_load(shape.name, shape.load_plan(installation))
            before = psutil.cpu_times()
            taken = take_turns(both, parts, turns, console)
            stack.notes.append(f"The host kept {stolen_since(before):.0%} of the cores' time to itself.")
    report = Report(
        base=f"{build.commit}, PLAINTEXT",
        this=f"{build.commit}, SASL_SSL, SCRAM-SHA-512",
        turns=turns,
        machine=machine,
        figures=compare_all(taken),
        notes=stack.notes,
    )
    report.write(out)
    report.print(console)
    console.print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
