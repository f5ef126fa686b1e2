"""Compares what two versions recommend: by a shadow's answers, or by asking both again."""
