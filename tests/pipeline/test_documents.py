"""The shell blocks of the documents that newcomers follow do what the documents say, on a running stack."""

import os
import re
import subprocess

import pytest

from tests.deploy.env_file import ROOT
from tests.support.pipeline import KEY, Pipeline

_BLOCK = re.compile(r"```(sh|json)\n(.*?)```", re.DOTALL)
_NOT_OF_CALLS = re.compile(r"^(make|headrace|set -a|\.venv)\b", re.MULTILINE)
# What differs from run to run.
_VARIES = re.compile(r'"(event_id|timestamp|received_at)":"[^"]*"')
# A busy machine takes longer to show an event than the documents let people wait.
_WAIT = ("sleep 2", "sleep 10")


def said(text: str) -> str:
    """An answer without white space and what varies."""
    return re.sub(r"\s", "", _VARIES.sub(r'"\1":""', text))


def script_of(text: str, base_url: str) -> str:
    blocks = [block for kind, block in _BLOCK.findall(text) if kind == "sh" and not _NOT_OF_CALLS.search(block)]
    script = "\n".join(blocks).replace("http://127.0.0.1:8000", base_url).replace(*_WAIT)
    return re.sub(r"export INFRAI_API_KEY=\S+", f"export INFRAI_API_KEY={KEY}", script)


def run(script: str) -> str:
    environment = {**os.environ, "INFRAI_API_KEY": KEY}
    done = subprocess.run(  # noqa: S603 (our own documents)
        ["/bin/bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md", "docs/how-to/send-events.md"])
def test_calls_of_a_document_are_answered_as_it_says(pipeline: Pipeline, name: str) -> None:
    text = (ROOT / name).read_text()
    output = said(run(script_of(text, pipeline.base_url)))
    assert '"request_id"' not in output, output  # only errors have one
    shown = [said(block) for kind, block in _BLOCK.findall(text) if kind == "json"]
    assert shown
    if name != "README.md":  # its query takes the events of other tests as well
        assert [answer for answer in shown if answer not in output] == []


def test_queries_of_the_guide_are_answered(pipeline: Pipeline) -> None:
    """Its queries are of the events of the quickstart: each result names someone."""
    for name in ("docs/quickstart.md", "docs/how-to/run-queries.md"):
        output = run(script_of((ROOT / name).read_text(), pipeline.base_url))
        assert '"request_id"' not in output, output
    assert '"next_cursor"' in output
    assert '"value":"pro"' in output
    assert '"size":2' in output
    assert '"matrix":[[0,' in output
