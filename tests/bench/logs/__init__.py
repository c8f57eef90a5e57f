"""What `bench_logs` and the short exactness tests share: a Cube, viewers, and the comparison with the oracle."""
