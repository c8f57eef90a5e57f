"""Other schedulers, measured beside ours: each in an environment of its own, started as its documentation says."""
