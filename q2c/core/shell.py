"""What the page frame needs on every page."""


def shell(request):
    """Context of templates/base.html."""
    return {}
