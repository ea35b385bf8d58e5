"""Make bundles: read labelled texts, train a classifier, measure it, save it."""
