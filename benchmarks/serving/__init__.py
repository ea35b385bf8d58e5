"""How fast the service is, beside what people would use instead: one run, one bundle, the same reviews and cores."""
