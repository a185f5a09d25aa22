"""The probe: an event of its own, from the edge to the answer of a query."""
