"""Tuning a language model to rank for users with few interactions (Llama4Rec 4.3.1, 4.5).

config.py           settings
similar_users.py    the most similar other user
questions.py        fields of a prompt: history, candidates, similar user's history
folds.py            recommenders that were trained without a part of the users
examples.py         instructions and their answers, from training data
example_report.py   counts and samples of them
label_scorer.py     the interface of a model that scores labels
prompt_encoder.py   prompts as tokens, and the tokens of their answers
label_model.py      … in this process, through torch
instructions.py     examples as tokens with their answers
adapters.py         the tuned part: LoRA, or everything
tunable.py          opens a model to be tuned, and one that was tuned
label_tuning.py     the trainer's task
tuning.py           the tuning
token_clock.py      its pace
label_network.py    … with what an exported graph computes
label_graph.py      … as the ONNX file that is served
onnx_scorer.py      … read from that file
rating_scale.py     ratings of any scale as the five that a model answers with
rating_config.py    settings of a model that predicts ratings
rated_examples.py   point-wise examples with rated histories, and questions about held-out pairs
asked_ratings.py    the ratings of many pairs, resumably
rating_aggregation.py  two models' ratings in one, by equations 6 and 7
scorer_choice.py    opens the model and the adapter that a recipe or grid names
prompt_scores.py    the scores of many prompts, resumably
"""
