"""A development-only server that speaks the Kubernetes REST API on loopback and runs pods as local processes."""
