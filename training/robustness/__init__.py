"""Measure how a classifier reads what accuracy does not show, and make texts that teach it."""
