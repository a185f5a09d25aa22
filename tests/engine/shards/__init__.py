"""The property tests of queries once more, on two shards, with few examples. With all examples, and all other tests of this
tier: `HEADRACE_TEST_SHARDS=2 HYPOTHESIS_PROFILE=full pytest tests/engine`."""
