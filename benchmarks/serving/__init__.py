"""Benchmark of the service beside its alternatives: the same bundle, reviews and cores for all."""
