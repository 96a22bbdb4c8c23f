"""From score shards to the written selection."""
