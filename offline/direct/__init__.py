"""Direct recommendation: user and item vectors of the graph of interactions (Llama4Rec 5.1.4)."""
