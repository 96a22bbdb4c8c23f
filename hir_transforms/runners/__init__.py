"""Where a pipeline runs: in this process, on all local cores, or on a runner that the user names."""
