"""Gaussian mixtures: EM, its start, exact sums, projections; fitted over embedding shards."""
