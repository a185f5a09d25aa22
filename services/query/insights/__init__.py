"""The kinds of queries, one file each, and the registry that lists them."""
