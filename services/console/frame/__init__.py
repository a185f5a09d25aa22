"""What all pages stand on: sessions, the API, headers, assets, templates."""
