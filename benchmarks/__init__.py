"""The commands behind our figures."""
