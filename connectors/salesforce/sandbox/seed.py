"""What an org has before anybody uses it: itself, its integration user, its currencies, the standard price book."""

from connectors.salesforce.sandbox.ids import make_id
from connectors.salesforce.sandbox.schema import Schema
from connectors.salesforce.sandbox.values import format_moment
from connectors.sandbox.clock import Clock
from connectors.sandbox.store import Store

CURRENCIES = {"USD": 2, "GBP": 2, "EUR": 2, "AUD": 2, "CAD": 2, "CHF": 2, "JPY": 0, "KWD": 3}
CORPORATE = "USD"


def seed_org(store: Store, clock: Clock, schema: Schema, identity: dict, *, currency: dict | None = None) -> str:
    """Make what is missing; with `currency` that CurrencyType too. The id of what was made last."""
    org, user = identity["organization_id"], identity["user_id"]

    def put(kind: str, id: str, **values: object) -> str:
        target = schema.objects[kind]
        now = clock.time()
        stamps = dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), format_moment(now))
        record = {name: column.default for name, column in target.fields.items()}
        record |= {"CreatedById": user, "LastModifiedById": user, **stamps, **values, "Id": id}
        keys = {
            name: str(record[name]).lower() for name, column in target.fields.items() if column.indexed and record[name]
        }
        if store.get(kind, id) is None:
            store.put(kind, id, record, keys=keys, at=now)
        return id

    put(
        "Organization",
        org,
        Name="Q2C demo company",
        IsSandbox=True,
        OrganizationType="Enterprise Edition",
        InstanceName="LOCAL",
    )
    email = identity["username"]
    put("User", user, Username=email, Name="Integration User", Email=email, IsActive=True, CurrencyIsoCode=CORPORATE)
    for number, (code, places) in enumerate(CURRENCIES.items(), start=1):
        put(
            "CurrencyType", make_id("01L", number), IsoCode=code, ConversionRate=1.0, DecimalPlaces=places,
            IsActive=True, IsCorporate=code == CORPORATE,
        )  # fmt: skip
    book = make_id("01s", 1)
    store.keep_setting(
        "standard_price_book", put("Pricebook2", book, Name="Standard Price Book", IsActive=True, IsStandard=True)
    )
    if store.setting("has_price_book_number") is None:  # the standard book took the first number
        store.keep_setting("has_price_book_number", store.next_number("id:01s"))
    if currency is None:
        return book
    values = {name: currency[name] for name in ("IsoCode", "ConversionRate", "DecimalPlaces") if name in currency}
    number = len(CURRENCIES) + store.next_number("id:01L")
    return put("CurrencyType", make_id("01L", number), **{"IsActive": True, "ConversionRate": 1.0, **values})
