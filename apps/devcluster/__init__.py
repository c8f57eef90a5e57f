# ruff: noqa: E501  the server's own words stay on one line, so that they can be searched for
"""A development-only server that speaks the Kubernetes REST API on loopback and runs pods as local processes."""
