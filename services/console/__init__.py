"""The console: pages for people, made of what the HTTP calls answer."""
