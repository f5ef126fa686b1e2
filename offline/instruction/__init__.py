"""Tuning a language model to rank for users with few interactions (Llama4Rec 4.3.1, 4.5).

label_scorer.py     the interface of a model that scores labels
prompt_encoder.py   prompts as tokens, and the tokens of their answers
label_model.py      … in this process, through torch
label_network.py    … with what an exported graph computes
label_graph.py      … as the ONNX file that is served
onnx_scorer.py      … read from that file
"""
