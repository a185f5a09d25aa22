"""Saved cohorts: rules and lists of ids under a name."""
