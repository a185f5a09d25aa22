"""`python -m services.cli`, the same as `headrace`."""

from services.cli.app import main

main()
