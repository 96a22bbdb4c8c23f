"""NLTK's tokenizer, where it is installed: apart from the kernel, which takes a compiler to import."""

from collections.abc import Callable


def load_word_tokenizer() -> Callable[[str], list[str]]:
    """Returns `nltk.tokenize.word_tokenize`.

    Raises:
        ValueError: If NLTK or its punkt data is not installed, or it is too new; nothing is downloaded here.
    """
    remedy = "pip install 'hir-beam[nltk]'"
    try:
        import nltk
        from nltk.tokenize import word_tokenize
    except ImportError as error:
        raise ValueError(f"tokenizer word_tokenize needs NLTK: {remedy}") from error
    if tuple(map(int, nltk.__version__.split(".")[:2])) >= (3, 10):  # compiles its patterns with another library
        raise ValueError(f"tokenizer word_tokenize: NLTK {nltk.__version__} gives other tokens: {remedy}")
    try:
        word_tokenize("a")
    except LookupError as error:
        raise ValueError(
            "tokenizer word_tokenize needs NLTK's punkt_tab data: python -m nltk.downloader punkt_tab"
        ) from error
    return word_tokenize
