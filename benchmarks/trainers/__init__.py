"""What `benchmarks.train` compares: our training and what people write instead, on one clock."""
