"""The address of a page <-> the body of an API call. Pure."""
