"""The stages of the offline path, one class and one artifact a module, in their order.

stage.py           the class of all stages; runs one, or takes its last result
data.py            files to numbered interactions, catalogue and split
knowledge.py       item texts, and the language model's knowledge of them
pretraining.py     an encoder tuned on other data sets, by a command of its own
behaviour.py       the encoder tuned on this data set
encoder_choice.py  the encoder to use: as it is, or tuned
encoding.py        texts to knowledge vectors
text_encoder.py    the encoder as the service runs it
recommender.py     the recommender, trained
instruction.py     examples to tune a language model with
tuning.py          the language model, tuned on them
refit.py           and trained again on everything
evaluation.py      its figures and the baselines'
ranks.py           ranks alone, for benchmarks
export.py          the files that the service reads

Of bundles of kind rating, after the data:

ratings.py            ratings held out, attributes as fields
rating.py             the network, trained
rating_refit.py       and trained again on all ratings
rating_evaluation.py  its figures and the baselines'
rating_export.py      the files that the service reads
"""
