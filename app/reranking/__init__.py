"""The long-tail reranker at request time: a language model that may be slow, dead or lying."""
