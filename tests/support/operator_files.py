"""Writes deploy/clickhouse into the example of ClickHouse's operator, which takes files within its own object alone.

`make docs` runs it; a test says when it is due.
"""

import re

from tests.support.manifests import KUBERNETES

EXAMPLE = KUBERNETES / "examples" / "clickhouse.yaml"
FILES = {"config.d/headrace.xml": "server.xml", "users.d/headrace.xml": "users.xml"}
_INDENT = " " * 8


def with_files(example: str) -> str:
    """The example with the files as they are now."""
    for name, source in FILES.items():
        text = (KUBERNETES.parent / "clickhouse" / source).read_text()
        indented = re.sub(r"^(?=.)", _INDENT, text, flags=re.MULTILINE)
        head = f"      {name}: |\n"
        block = re.compile(f"{re.escape(head)}(?:{_INDENT}.*\n|\n)+")
        example, count = block.subn(lambda _, new=head + indented: new, example)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"{EXAMPLE} has no block {name}")
    return example


if __name__ == "__main__":
    EXAMPLE.write_text(with_files(EXAMPLE.read_text()))
