"""What pages show, as values: made of answers of the API, without HTTP."""
