"""Settings under which an answer is whole or an error, whatever the user's profile says."""

# Limits that end a query early, and what happens then: an index that knows a part of the ids stores the rest twice.
WHOLE_ANSWER: dict[str, int | str] = {
    "limit": 0,
    "offset": 0,
    "max_result_rows": 0,
    "max_result_bytes": 0,
    "max_rows_to_read": 0,
    "max_bytes_to_read": 0,
    "max_rows_to_read_leaf": 0,
    "max_bytes_to_read_leaf": 0,
    "result_overflow_mode": "throw",
    "read_overflow_mode": "throw",
    "read_overflow_mode_leaf": "throw",
    "set_overflow_mode": "throw",
    "distinct_overflow_mode": "throw",
    "group_by_overflow_mode": "throw",
    "timeout_overflow_mode": "throw",
    "skip_unavailable_shards": 0,
    # An error in the middle of an answer is then an error and no answer.
    "wait_end_of_query": 1,
}
