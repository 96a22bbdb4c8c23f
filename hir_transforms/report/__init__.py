"""The report of a selection: what was selected and where the line is, for people and for programs."""
