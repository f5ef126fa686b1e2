"""Alignment: the recommender's likelihood of the true next item rewards the LLM's texts.

SeRALM 4.4, Algorithm 1. docs/alignment.md says what a step is.

config.py, settings.py settings; load no torch
experience.py          what a sampler hands to a learner, and the protocols of both
inputs.py, models.py   what an alignment starts from, and the models opened from it
examples.py            D: histories and next items
policy.py              the LLM: samples texts, gives log p with gradients
item_prompts.py        each item's prompt, and how an answer is read
writing.py             sampled texts with their log p
recommenders.py        Rec and Rec_f as they are before alignment
text_vectors.py        texts to vectors, while the encoder is trained or frozen
likelihood.py          log p(y|x, s) and log p(y|x)
judge.py               both of these for examples with texts
estimator.py           weights from rewards
policy_update.py       one step of θ_l
recommender_update.py  one step of θ_r
learner.py             one step of both, snapshots and checkpoints
samplers.py            experiences of the LLM as it is, or of a pool
sources.py             where the loop takes experiences from
pool.py                several texts of each item, sampled once, in files that resume
asynchronous.py        experiences that another process makes with weights of some steps ago:
                       queue.py, batch_file.py and snapshots.py lie between both processes,
                       generation.py and generator.py run in the other one, generator_process.py
                       starts and replaces it, processes.py divides threads and GPUs
alignment.py           the loop
watch.py, report.py    figures, texts of some items, the stop where texts collapse
run.py, modes.py       all of it, in a folder that resumes
aligned_model.py       the aligned LLM as a writer of knowledge; opening.py opens it by name
"""
