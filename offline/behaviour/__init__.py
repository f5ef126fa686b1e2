"""A text encoder tuned on behaviour (Rethinking PLM 3.1, after RecFormer), to embed items with.

config.py              settings
history_texts.py       a history as a text, newest item first
samples.py             histories and their next items, from the training part
layers.py              which layers are tuned
history_encoder.py     histories to vectors
    lower_layers.py        states below the tuned layers, computed once
tuning.py              epochs, patience and learning rate, for the trainer
finetuning.py          FT1 and FT2: the next item among all items
pretraining.py         PT: masked words, and the next item among those of the batch
    masking.py             which tokens are hidden, and the head that guesses them
stages.py              a build's stages FT1 and FT2 in order
"""
