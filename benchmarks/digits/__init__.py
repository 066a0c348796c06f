"""The digits job of `benchmarks.simulate`, one way of running it in each file."""
