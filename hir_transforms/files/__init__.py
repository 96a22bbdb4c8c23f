"""Files on any file system: patterns, atomic writes, locks, compression, blocks of bytes."""
