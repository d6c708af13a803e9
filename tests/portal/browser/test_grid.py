"""The grid by keyboard alone: rows selected and acted on together, suggestions taken, nothing lost by a wrong step."""

import pytest

from mappings.models import Sheet
from tests import factories
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import make_items

pytestmark = pytest.mark.django_db(transaction=True)


def test_rows_are_selected_changed_undone_and_saved_and_a_suggestion_is_taken_without_a_mouse(open_page):
    make_items()
    for key in ("A", "B", "C"):
        make_rule("item", key, "10482", connection="netsuite")
    make_rule("item", "NEW", "10391", connection="netsuite", currency="USD")
    page = open_page(factories.make_person("mapping_admin"), "/mappings/grid/?kind=item", width="phone")
    page.on("dialog", lambda dialog: dialog.dismiss())

    def value(place: int) -> str:
        return page.input_value(f'[name="value-{place}"]')

    page.focus('[name="value-0"]')
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    assert page.inner_text("#bulk-count") == "3 rows"
    page.fill("#bulk-value", "10391")
    page.keyboard.press("Enter")
    assert [value(n) for n in range(3)] == ["10391"] * 3
    page.focus('[name="value-2"]')
    page.keyboard.press("Control+z")
    assert [value(n) for n in range(3)] == ["10482"] * 3
    page.fill('[name="value-0"]', "10500")
    page.focus('[name="value-1"]')
    page.keyboard.press("Control+d")
    assert [value(n) for n in range(3)] == ["10500"] * 3
    page.focus('[name="value-2"]')
    page.keyboard.press("Escape")
    assert page.is_hidden("#bulk")
    page.fill('[name="key-4"]', "NEW")
    page.focus('[name="value-4"]')
    page.keyboard.press("F2")
    page.wait_for_selector("#hints [data-take]")
    assert "the same key becomes it in USD" in page.inner_text("#hints")
    page.keyboard.press("F2")
    assert (value(4), page.input_value('[name="offered-4"]')) == ("10391", "10391 same_key")
    with page.expect_event("dialog") as asked:
        page.evaluate("void location.reload()")
    assert (asked.value.type, value(4)) == ("beforeunload", "10391")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/mappings/sheets/*/")
    assert Sheet.objects.get().report["acts"] == {"change": 3, "create": 1}
    assert page.complaints == []
