"""`longtail recommend-all`: k items for every user, as Parquet files.

command.py        from flags to files
histories.py      every user's history: a bundle's, a file's
live.py           every user's history: what the store has now
slot_files.py     ids of the store's users, on disk
batches.py        users in batches, each with the name of its result
ranker.py         a batch of histories to recommendations, as POST /recommend ranks
user_vectors.py   the network: histories to user vectors
best_items.py     the k best items of each user vector, without sorting the catalogue
"""
