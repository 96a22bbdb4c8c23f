"""Classifiers of target against raw, whose decision values are log density ratios."""
