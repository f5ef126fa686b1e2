"""ID-based sequential recommenders, and the baselines of every table."""
