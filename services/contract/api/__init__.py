"""What crosses HTTP: bodies, results, errors, and the calls as data."""
