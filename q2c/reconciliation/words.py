"""What the documents of a feed are called."""

_WORDS = {
    "invoice": ("invoice", "invoices"), "credit_memo": ("credit note", "credit notes"),
    "payment": ("payment", "payments"), "refund": ("refund", "refunds"), "payout": ("payout", "payouts"),
    "dispute": ("dispute", "disputes"), "application": ("applied payment", "applied payments"),
    "order": ("order", "orders"),
}  # fmt: skip


def one(document_type: str) -> str:
    """One of them."""
    return _WORDS.get(document_type, (document_type.replace("_", " "),) * 2)[0]


def many(document_type: str) -> str:
    """Several."""
    return _WORDS.get(document_type, (document_type.replace("_", " "),) * 2)[1]


def several(word: str) -> str:
    """Several of what is called so."""
    return dict(_WORDS.values()).get(word, word)
