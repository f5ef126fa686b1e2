"""Knowledge of a language model about each item: what it is, who likes it and why (SeRALM 4.2).

config.py              settings: model, prompt, generation
prompts/, prompt.py    the versioned template and its filling with one item's text
language_model.py      the interface of a model
local_model.py         … in this process, through transformers
causal_model.py        loads its weights and its tokenizer
endpoint/              … behind an OpenAI-compatible endpoint
thinking.py            cuts what a model thinks before it answers
flaws.py               flaws of an answer, and the cut at its last full sentence
answers.py             answers on disk: the resumable cache and the bundled, read-only layer
generation.py          the loop over all items
provenance.py          where texts come from
report.py              counts of a run
"""
