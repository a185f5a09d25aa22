"""From JSON to typed values. No SQL is written here."""
