"""Where work on many rows runs: a function of a batch, given Parquet files, leaves Parquet files.

work.py       what is done to a batch, and the part that a batch is
parts.py      runs the parts that are missing, in any order, with progress
rows.py       items of users as a column of lists
local.py      in this process, or in several of this machine
on_ray.py     on a Ray cluster
choice.py     the engine that a command line names
"""
