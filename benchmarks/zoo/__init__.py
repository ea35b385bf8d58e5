"""Every mechanism trained on IMDB under one protocol, and the page that compares them."""
