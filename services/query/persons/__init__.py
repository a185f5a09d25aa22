"""Single persons: what is known of one, and deleting."""
