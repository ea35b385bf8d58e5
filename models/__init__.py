"""What a classifier is: layers, tokenizer, classifier, bundle. The ground floor of the house."""
