"""Alignment: the recommender's likelihood of the true next item rewards the LLM's texts.

SeRALM 4.4, Algorithm 1. docs/alignment.md says what a step is.

config.py        settings; loads no torch
experience.py    what a sampler hands to a learner, and both protocols
"""
