"""What steps of a selection leave behind, as objects of Python."""
