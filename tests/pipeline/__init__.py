"""Tests of the whole pipeline: real brokers, real processes."""
