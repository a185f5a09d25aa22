"""SQL building: values are server-side parameters. No JSON is read here."""
