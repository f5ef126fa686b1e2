"""Bundles in registries of others: pushed with a model card, pulled and verified."""
