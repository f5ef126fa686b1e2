"""The offline report, and the evaluation of a service."""
