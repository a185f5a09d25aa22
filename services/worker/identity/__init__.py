"""Who is who: identify, alias and group messages, and the sets of ids that follow."""
