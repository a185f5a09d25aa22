"""The pages: what an address shows."""
