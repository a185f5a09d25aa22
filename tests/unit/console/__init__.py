"""The console as a process of its own: its frame, and what its pages show."""
