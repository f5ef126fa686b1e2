"""Training data that a language model adds to (Llama4Rec 4.2).

config.py        settings of the recipe's table
draws.py         users, items and places are drawn, before anything is asked
sequences.py     the likeliest of some items goes into a training sequence (4.2.2)
pairs.py         pairs of items ranked for a user, and the BPR loss (4.2.1, equations 2 and 3)
attributes.py    missing attributes of items, written from examples (4.2.3)

Pairs and attributes are for direct and rating models; no stage uses them yet.
"""
