"""Makes bundles: reads reviews, trains a classifier, measures it, saves it."""
