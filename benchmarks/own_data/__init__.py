"""Measure `train auto` on other people's tables, beside the majority, bags of words and spaCy: see __main__.py."""
