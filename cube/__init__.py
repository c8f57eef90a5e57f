"""The composition root: settings, routes and processes. Rooms never import it."""

__version__ = "0.1.0"
