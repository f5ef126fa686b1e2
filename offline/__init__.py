"""Everything that needs torch or transformers: from interactions to a published bundle."""
