"""The compiled loop from UTF-8 bytes to n-gram buckets."""
