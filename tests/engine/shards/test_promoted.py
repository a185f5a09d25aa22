"""Promoted properties, where a column is one of all shards."""

from tests.engine import test_query_promoted as tests

test_what_is_read_all_the_time_is_promoted_by_itself = tests.test_what_is_read_all_the_time_is_promoted_by_itself
