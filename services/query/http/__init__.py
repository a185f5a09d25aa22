"""The query calls over HTTP."""
