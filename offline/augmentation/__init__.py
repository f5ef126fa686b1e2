"""Training data that a language model adds to (Llama4Rec 4.2).

config.py        settings of the recipe's table
draws.py         users, items and places are drawn, before anything is asked
sequences.py     the likeliest of some items goes into a sequential model's sequence (4.2.2)
pairs.py         pairs of items ranked for a user, for a direct model's loss (4.2.1, equation 3)
attributes.py    missing attributes of items, written from examples, for rating models (4.2.3)
"""
