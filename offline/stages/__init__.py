"""The stages of the offline path, one class and one artifact a module, in their order.

stage.py           what a stage is, and how one is run or taken from last time
data.py            files to numbered interactions, catalogue and split
knowledge.py       the language model writes what each item is
pretraining.py     an encoder tuned on other data sets, by a command of its own
behaviour.py       the encoder tuned on this data set
encoder_choice.py  the encoder that is used: as it is, or tuned
encoding.py        texts to knowledge vectors
text_encoder.py    the encoder as the service runs it
recommender.py     the recommender, trained
refit.py           and trained again on everything
evaluation.py      its figures beside the baselines'
ranks.py           ranks alone, for benchmarks
export.py          what serves it
"""
