"""Make bundles: read labelled texts, train a classifier, measure it, save it. The errors of the room stand here.

TrainingError
+-- ConfigError     a TOML file is not a valid training configuration
+-- DataError       data cannot be read as labelled texts
+-- ResumeError     a stopped run cannot be resumed as asked
"""


class TrainingError(Exception):
    """Base of all; the message says what was expected, what was received and what to do."""


class ConfigError(TrainingError):
    """A TOML file is not a valid training configuration."""


class DataError(TrainingError):
    """Data cannot be read as labelled texts."""


class ResumeError(TrainingError):
    """A stopped run cannot be resumed as asked."""
