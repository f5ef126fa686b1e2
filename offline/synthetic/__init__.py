"""Synthetic catalogues of any size: complete bundles for measurements beyond real data sets.

python -m offline.synthetic --items 1000000 --out FOLDER
"""
