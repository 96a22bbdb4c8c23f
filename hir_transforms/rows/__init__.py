"""Files of one row per document, in corpus order: precomputed embeddings or weights."""
