"""The error that ends a run."""


class ScoreError(Exception):
    """The run cannot start or continue. A bad row is not one of these."""
