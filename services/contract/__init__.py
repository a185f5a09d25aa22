"""What crosses a process border: messages, envelopes, topics, table columns, error codes. Values only, no I/O."""
