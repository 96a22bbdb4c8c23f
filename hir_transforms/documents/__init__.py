"""Documents: datasets, the pieces they are read in, JSON lines, rejected lines."""
