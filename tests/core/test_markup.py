"""What people write is shown as they meant it, and nothing of it is ever HTML of their own."""

import pytest

from q2c.core.markup import render_markup


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("One.\nTwo.\n\nThree.", "<p>One.<br>Two.</p><p>Three.</p>"),
        ("Do:\n- this\n- that", "<p>Do:</p><ul><li>this</li><li>that</li></ul>"),
        ("1. first\n2. second", "<ol><li>first</li><li>second</li></ol>"),
        ("**Never** `a**b**`", "<p><b>Never</b> <code>a**b**</code></p>"),
        ("[Stripe](https://x.test/a?b=1)", '<p><a href="https://x.test/a?b=1" rel="noreferrer">Stripe</a></p>'),
        ("[ours](/exceptions/kinds/)", '<p><a href="/exceptions/kinds/" rel="noreferrer">ours</a></p>'),
        ("<b onclick=x>&", "<p>&lt;b onclick=x&gt;&amp;</p>"),
        ("[a](javascript:x) [b](//evil.test)", "<p>[a](javascript:x) [b](//evil.test)</p>"),
        ('[a](https://x.test/"onclick=y)', '<p><a href="https://x.test/&quot;onclick=y" rel="noreferrer">a</a></p>'),
        (" \n\n ", ""),
    ],
)
def test_text_becomes_its_few_marks_and_all_else_stays_text(text, html):
    assert render_markup(text) == html
