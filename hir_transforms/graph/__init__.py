"""The stages of a selection in their order, and the pipeline that computes those that are missing."""
