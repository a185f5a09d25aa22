"""The tables: numbered SQL migrations, and what applies them."""
