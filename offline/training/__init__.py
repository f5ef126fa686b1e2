"""Training in epochs, the same for recommenders and for text encoders tuned on behaviour.

trainer.py       epochs, early stopping, checkpoints that resume exactly, within an epoch too
record.py        the record of a training
checkpoint.py    its state in one file
optimizer.py     AdamW
learning_rate.py warm-up and cosine decay
batches.py       rows of nearly one length together
seeds.py         random numbers from a seed
"""
