"""Texts to knowledge vectors (SeRALM equation 2), and the encoder as ONNX for the service.

sentence_encoder.py    a Hugging Face encoder with mean pooling
item_vectors.py        the texts of items, and the vectors of all items
vector_cache.py        vectors that an earlier build encoded, by encoder and text
onnx_export.py         text_encoder.onnx + tokenizer.json, checked against torch
    half_weights.py        the weights of an ONNX file in half precision
"""
