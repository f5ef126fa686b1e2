"""Full-ranking metrics and the report a person reads."""
