"""The catalog: which events, properties, traits and groups a project has."""
