"""Token ids in, results out: engines, the queue before them and the workers that drain it."""
