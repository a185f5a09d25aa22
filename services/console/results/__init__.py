"""Answers of the API -> what a page draws: lines, bars, streams, tables. Pure."""
