"""The API server: storage, validation, admission and watch, as far as Cube and kubectl ask for them."""
