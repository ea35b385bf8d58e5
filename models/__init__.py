"""Layers, tokenizer, classifier, bundle: all that training and serving share."""
