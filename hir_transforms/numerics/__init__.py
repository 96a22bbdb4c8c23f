"""The arithmetic of the selection: arrays in, arrays out, no Beam and no files beyond the fitted models."""
