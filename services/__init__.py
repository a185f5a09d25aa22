"""Headrace: event-streaming pipeline for product analytics (edge, worker, query service, development stack)."""

__version__ = "0.1.0"
