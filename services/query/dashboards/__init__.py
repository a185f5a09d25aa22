"""Dashboards: kept, and run."""
