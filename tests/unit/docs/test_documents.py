"""The documents hold together: links, names, words, length of lines and sentences."""

import ast
import os
import re
import statistics
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MAX_LINE_CHARS = 120
MAX_README_LINES = 150
MAX_MEDIAN_WORDS = 18
# What records decisions, measurements and changes may speak of the past.
_HISTORY = ("docs/decisions/", "docs/benchmarks/", "CHANGELOG.md")
_MADE_BY_ITS_USER = ("deploy/.env",)
_SKIPPED = {"node_modules", "build", "dist"}


def _documents() -> Iterator[Path]:
    """Without what is skipped: in the virtual environment and the data there are more files than in all the rest."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]
        yield from (Path(folder, name) for name in files if name.endswith(".md") and not name.startswith("."))


DOCUMENTS = sorted(_documents())
CODE = sorted(path for folder in ("services", "tests") for path in (ROOT / folder).rglob("*.py"))

# A private word of old, and the field's. docs/glossary.md has the whole list.
FORMER_WORDS = {
    r"\bquestions?\b(?! mark)": "query",
    r"\blanes?\b": "partition queue",
    r"\banew\b": "again, recompute",
    r"\bpatience\b": "timeout multiplier",
    r"\bmerged away\b": "absorbed",
    r"\b(stored|exact)_ids\b": "dedupe by memory, dedupe by clickhouse",
}
IN_DOCUMENTS = FORMER_WORDS | {r"\brepeats\b": "duplicates", r"\ba repeat\b": "a duplicate"}
OF_THE_PAST = re.compile(r"\bno longer\b|\bused to\b|\bfrom now on\b", re.IGNORECASE)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


documents = pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)


def without_code_blocks(text: str) -> str:
    """The text with fenced and indented code as empty lines."""
    text = re.sub(
        r"^```.*?^```[^\n]*$", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE
    )
    return re.sub(r"(?<=\n\n)(?: {4}.*\n)+", lambda block: "\n" * block[0].count("\n"), text)


def prose(text: str) -> str:
    """Paragraphs and list items: no code, tables, headings, comments or pictures."""
    text = re.sub(r"<!--.*?-->", "", without_code_blocks(text), flags=re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not re.match(r"\s*(\||#|!\[)", line))


def sentences(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", prose(text)):
        plain = re.sub(r"\s+", " ", re.sub(r"^\s*(?:[-*]|\d+\.) ", "", paragraph)).strip()
        for sentence in re.split(r"(?<=[.!?:;])\s+(?=[A-Z`\"(*\[0-9])", plain):
            if len(sentence.split()) > 1:
                yield sentence


@cache
def anchors(path: Path) -> set[str]:
    """The headings as GitHub makes addresses of them."""
    headings = re.findall(r"^#+ (.+)$", without_code_blocks(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@documents
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code_blocks(path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(there), f"{target}: no such heading"


@documents
def test_lines_are_not_too_long(path: Path) -> None:
    for number, line in enumerate(without_code_blocks(path.read_text()).splitlines(), 1):
        shown = re.sub(r"\]\([^)]*\)", "]", line)
        assert len(shown) <= MAX_LINE_CHARS or line.startswith("|"), f"line {number} has {len(shown)} characters"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README_LINES


def test_the_gate_runs_what_the_readme_says() -> None:
    assert "make test" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"


@documents
def test_documents_use_the_field_s_words(path: Path) -> None:
    text = re.sub(r"`[^`]*`", "", prose(path.read_text()))
    if name_of(path) in ("docs/glossary.md", "CHANGELOG.md"):
        return
    for pattern, word in IN_DOCUMENTS.items():
        found = re.search(pattern, text, re.IGNORECASE)
        assert not found, f"{found[0]!r}: say {word}"
    if not name_of(path).startswith(_HISTORY):
        found = OF_THE_PAST.search(text)
        assert not found, f"{found[0]!r}: history belongs into decisions, benchmarks or the changelog"


@documents
def test_paths_and_targets_that_are_named_exist(path: Path) -> None:
    text = path.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert target in targets, f"make {target}"
    for named in re.findall(r"`((?:services|tests|docs|deploy|requirements)/[\w./-]+)`", text):
        assert named in _MADE_BY_ITS_USER or (ROOT / named).exists(), named


def code_text() -> str:
    files = [*CODE, ROOT / "Makefile", *(ROOT / "deploy").rglob("*.yaml")]
    return "\n".join(path.read_text() for path in files) + (ROOT / "docs/reference/settings.md").read_text()


def test_settings_and_metrics_that_are_named_exist() -> None:
    code, metrics = code_text(), (ROOT / "docs/reference/metrics.md").read_text()
    for path in DOCUMENTS:
        if name_of(path) == "CHANGELOG.md":
            continue
        text = path.read_text()
        for name in re.findall(r"\bHEADRACE_[A-Z0-9_]*[A-Z0-9]\b(?!\*)", text):
            # Any setting may stand in a file.
            assert name in code or name.removesuffix("_FILE") in code, f"{name_of(path)}: there is no {name}"
        for name in re.findall(r"\bheadrace_(?:edge|worker|query|console|http)_\w+\b", text):
            assert re.sub(r"_(bucket|sum|count)$", "", name) in metrics, f"{name_of(path)}: there is no {name}"


def test_sentences_are_short() -> None:
    lengths = {
        name_of(path): [len(sentence.split()) for sentence in sentences(path.read_text())]
        for path in DOCUMENTS
        if not name_of(path).startswith(("docs/reference/", "CHANGELOG.md"))
    }
    medians = {name: statistics.median(of) for name, of in lengths.items() if len(of) >= 10}
    too_long = {name: median for name, median in medians.items() if median > MAX_MEDIAN_WORDS}
    assert not too_long, f"words in the median sentence: {too_long}"


def comments_and_descriptions(path: Path) -> Iterator[str]:
    """What people read in code: comments, docstrings, and the texts of settings, fields and commands."""
    with path.open("rb") as file:
        yield from (token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
        elif isinstance(node, ast.keyword) and node.arg in ("description", "help", "summary"):
            yield ast.unparse(node.value)


def test_code_uses_the_field_s_words() -> None:
    any_former_word = re.compile("|".join(f"(?:{pattern})" for pattern in FORMER_WORDS), re.IGNORECASE)
    for path in CODE:
        if not any_former_word.search(path.read_text()):
            continue  # to take a file apart takes long
        for text in comments_and_descriptions(path):
            for pattern, word in FORMER_WORDS.items():
                found = re.search(pattern, text, re.IGNORECASE)
                assert not found, f"{name_of(path)}: {found[0]!r}: say {word}"
