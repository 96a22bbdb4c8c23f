"""What a run leaves: stages in the work folder with their fingerprints, and the output folder."""
