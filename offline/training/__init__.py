"""Training in epochs, the same for recommenders and for text encoders tuned on behaviour.

trainer.py       epochs, early stopping, checkpoints that resume exactly
record.py        the record of a training
checkpoint.py    its state in one file
optimizer.py     AdamW
batches.py       rows of nearly one length together
seeds.py         random numbers from a seed
"""
