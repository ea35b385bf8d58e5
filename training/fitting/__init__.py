"""Models fitted to prepared texts: one by itself, two joined, one taught by others."""
