"""The node side: pods as local process groups."""
