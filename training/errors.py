"""What training refuses.

TrainingError
+-- ConfigError     a TOML file that is not a training configuration
+-- DataError       data that cannot be read as labelled texts
+-- ResumeError     a stopped run that cannot be continued as asked
"""


class TrainingError(Exception):
    """Every refusal; the message says what was expected, what was received and what to do."""


class ConfigError(TrainingError):
    """A TOML file that is not a training configuration."""


class DataError(TrainingError):
    """Data that cannot be read as labelled texts."""


class ResumeError(TrainingError):
    """A stopped run that cannot be continued as asked."""
