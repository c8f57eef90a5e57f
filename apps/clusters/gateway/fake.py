"""An API server kept in a dict."""
