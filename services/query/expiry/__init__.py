"""The end of events: how long a project's are kept, and how they leave."""
