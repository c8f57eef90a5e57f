"""What `make bench-schedules` is made of."""
