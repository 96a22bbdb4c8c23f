"""Embeddings of documents: from a model, or looked up in given files; shards on disk."""
