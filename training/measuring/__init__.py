"""Measure a classifier: metrics, baselines beside it, and the report of a run."""
