"""What every package uses: errors a user can fix, messages, order-free merging, compiled functions, threads."""
