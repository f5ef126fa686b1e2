"""Whether a canary is worse than the active version: counts, a sequential test, a verdict."""
