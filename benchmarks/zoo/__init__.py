"""Comparison of all mechanisms on IMDB, trained with one protocol."""
