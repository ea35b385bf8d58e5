"""What the service could reach at most: the engine alone, HTTP without an engine, other runtimes, the arithmetic."""
