"""What we claim, and the commands that print it."""
