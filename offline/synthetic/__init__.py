"""Made catalogues of any size: complete bundles to measure with where no real one is large enough.

python -m offline.synthetic --items 1000000 --out FOLDER
"""
