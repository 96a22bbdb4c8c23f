"""How good a selection is: measures of bounded statistics, for any selection of jsonl files."""
