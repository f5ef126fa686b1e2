"""A loaded version as a value."""
