"""The one failure of reading and writing tables."""


class TableError(Exception):
    """A table cannot be read or written: what was expected, received and is to be done. A bad row raises no error."""
