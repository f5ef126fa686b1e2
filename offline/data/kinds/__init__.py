"""Kinds of columns: each module finds from a column's content whether it is of one kind.

times.py        unix seconds from typed columns, counts and texts
time_counts.py  numbers that count seconds, milliseconds or days, or whose digits are a date
time_shapes.py  texts with dates, read by the positions of their digits
calendar.py     seconds of calendar dates, as arrays
numbers.py      decimal points and commas, separated thousands, units; codes that are no numbers
booleans.py     true and false in several spellings
lists.py        JSON and Python lists, and parts between separators
ids.py          ids as text
"""
