"""The classifier of embeddings: its fit to embedding shards, and the ratio that it scores with."""
