"""The `headrace` command: one subcommand a service, and the operator's tools. Services are imported when they run."""
