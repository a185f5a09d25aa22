"""How long queries take on a realistic history, beside other ways to answer them: `python -m tests.bench.query`."""
