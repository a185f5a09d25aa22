"""A module of property tests once more, with few examples: for `tests/engine/shards`, whose engine is two shards."""

import importlib.util
from typing import Any

from hypothesis import settings

from tests.support.examples import load_profile

settings.register_profile("shards", max_examples=4, deadline=None)


def once_more(module: str) -> dict[str, Any]:
    """Its properties, and the fixtures. They are not those of the module itself, which have more examples."""
    spec = importlib.util.find_spec(f"tests.engine.{module}")
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    settings.load_profile("shards")
    try:
        spec.loader.exec_module(again)
    finally:
        load_profile()
    return {name: value for name, value in vars(again).items() if _is_fixture(value) or _is_property(name, value)}


def _is_property(name: str, value: object) -> bool:
    return name.startswith("test_") and hasattr(value, "hypothesis")


def _is_fixture(value: object) -> bool:
    return type(value).__name__ == "FixtureFunctionDefinition"
