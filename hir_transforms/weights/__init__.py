"""Log importance weights of documents, mixed into score shards."""
