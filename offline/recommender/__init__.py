"""ID-based sequential recommenders, and the baselines that stay beside them in every table."""
