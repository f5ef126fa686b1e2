"""Reading, validating, ordering and splitting interactions and catalogues."""
