"""Documents: datasets, the pieces they are read in, JSON lines and rows of tables, rejected ones."""
