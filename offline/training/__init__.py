"""Training in epochs, the same for recommenders and for text encoders tuned on behaviour.

trainer.py       epochs, early stopping, checkpoints that resume exactly, within an epoch too
record.py        the record of a training
checkpoint.py    its state in one file
optimizer.py     AdamW
lazy_adam.py     AdamW for tables of which a step reads a few rows
learning_rate.py warm-up and cosine decay
batches.py       rows of nearly one length together
group.py         processes that train together
    gathering.py     what they compute, as one tensor with gradients
    sharded.py       a table whose rows they share out
seeds.py         random numbers from a seed
"""
