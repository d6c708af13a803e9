"""The tests' own set-up: the role they run as, and a migrated database."""

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db


def test_the_test_database_is_migrated_and_owned_by_the_tests_role():
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableowner = current_user FROM pg_tables WHERE tablename = 'transactions_steprun'")
        assert cursor.fetchone() == (True,)
