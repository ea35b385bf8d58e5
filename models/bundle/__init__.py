"""The format on disk: reading, verifying and writing bundles. The only code that knows it."""
