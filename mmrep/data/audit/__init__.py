"""Looking at data before they are trained on: `mmrep data describe | validate | split | overlap`.

sources (what a SOURCE on the command line is), scan (one pass over every row), hashes and duplicates (what makes two rows the
same), describe, validate, report (terminal, HTML), split, overlap.
"""
