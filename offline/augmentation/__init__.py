"""Training data that a language model adds to (Llama4Rec 4.2).

config.py        settings of the recipe's tables [augmentation] and [pairs]
draws.py         users, items and places are drawn, before anything is asked
sequences.py     the likeliest of some items goes into a sequential model's sequence (4.2.2)
pairs.py         pairs of items ranked for a user, for a direct model's loss (4.2.1, equation 3)
attributes.py    prompts about missing attributes of items, and values of the answers (4.2.3)
completion.py    … asked for, cached and counted, for rating models
completion_config.py  settings of the recipe's table [completion]
"""
