"""Load tests and benchmarks of the service, through its public API only."""
