"""What every command does before and after its pipeline."""
