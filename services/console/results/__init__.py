"""Answers of the API -> what a page draws: figures of Plotly, tables, bars. Pure."""
