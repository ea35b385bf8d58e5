"""The trainers that `benchmarks.train` compares."""
