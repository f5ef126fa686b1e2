"""A language model behind an OpenAI-compatible endpoint.

model.py        the model: what it asks, and what it learns about the endpoint
options.py      the optional parameters of a request
client.py       requests that outlast an endpoint's troubles
body.py         the JSON document of an answer
completion.py   reads a completion
"""
