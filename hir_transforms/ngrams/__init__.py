"""Hashed n-grams: features, the estimator, and fitting it."""
