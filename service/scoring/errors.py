"""The one failure that ends a run."""


class ScoreError(Exception):
    """The run cannot begin or go on: what was expected, what was received, what to do. A bad row is none of these."""
