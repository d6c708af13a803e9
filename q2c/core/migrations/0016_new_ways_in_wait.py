"""Whoever gives a person a second factor, takes one or ties a single sign-on account to them can't approve as them for a
day, as with a new password: by a screen, by the admin or past both."""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

FUNCTION = """
CREATE FUNCTION q2c_new_way_in_waits() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.core_person p
       SET approves_from = greatest(p.approves_from, now() + interval '24 hours'), sign_in_changed = TG_ARGV[0]
     WHERE p.id = NEW.user_id OR p.id = OLD.user_id;
    RETURN NULL;
END $$;
"""
# What a use writes isn't news: when an account was last seen, which recovery code is used up, what a key is called.
TRIGGERS = """
CREATE TRIGGER q2c_new_account_waits AFTER INSERT OR DELETE ON socialaccount_socialaccount
    FOR EACH ROW EXECUTE FUNCTION q2c_new_way_in_waits('single sign-on');
CREATE TRIGGER q2c_changed_account_waits AFTER UPDATE ON socialaccount_socialaccount FOR EACH ROW
    WHEN ((OLD.user_id, OLD.provider, OLD.uid) IS DISTINCT FROM (NEW.user_id, NEW.provider, NEW.uid))
    EXECUTE FUNCTION q2c_new_way_in_waits('single sign-on');
CREATE TRIGGER q2c_new_factor_waits AFTER INSERT OR DELETE ON mfa_authenticator
    FOR EACH ROW EXECUTE FUNCTION q2c_new_way_in_waits('second factor');
CREATE TRIGGER q2c_changed_factor_waits AFTER UPDATE ON mfa_authenticator FOR EACH ROW
    WHEN ((OLD.user_id, OLD.type, OLD.data - 'used_mask' - 'name')
        IS DISTINCT FROM (NEW.user_id, NEW.type, NEW.data - 'used_mask' - 'name'))
    EXECUTE FUNCTION q2c_new_way_in_waits('second factor');
"""


class Migration(migrations.Migration):

    dependencies = [
        ('core', '0015_holds_of_documents'),
        ('mfa', '0003_authenticator_type_uniq'),
        ('socialaccount', '0006_alter_socialaccount_extra_data'),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name='person',
            name='new_password_waits',
        ),
        migrations.AddField(
            model_name='person',
            name='sign_in_changed',
            field=models.CharField(blank=True, db_default='', default='', max_length=40),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='person',
            trigger=pgtrigger.compiler.Trigger(name='new_password_waits', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n    IF NEW.password IS DISTINCT FROM OLD.password THEN\n        NEW.sign_in_changed := 'password';\n        NEW.approves_from := greatest(OLD.approves_from, now() + interval '24 hours');\n    ELSE\n        NEW.approves_from := greatest(OLD.approves_from, NEW.approves_from);\n    END IF;\n    RETURN NEW;\n", hash='f80ff1ad89eec0b36621d9f193124c7966dd0cf2', operation='UPDATE OF "password", "approves_from"', pgid='pgtrigger_new_password_waits_4e652', table='core_person', when='BEFORE')),
        ),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION q2c_new_way_in_waits() CASCADE"),
        migrations.RunSQL(TRIGGERS, migrations.RunSQL.noop),
    ]
