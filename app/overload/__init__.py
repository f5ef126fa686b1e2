"""Decides when work may run: admission, an estimate of demand, batching."""
