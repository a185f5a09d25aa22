"""Which event ids are stored already."""
