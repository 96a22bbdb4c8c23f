"""Data selection by importance weights of n-grams and embeddings, on Apache Beam."""

__version__ = "0.1.0"
__all__ = ["__version__"]
