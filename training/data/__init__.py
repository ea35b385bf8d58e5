"""Labelled texts: loaded from files, and split."""
