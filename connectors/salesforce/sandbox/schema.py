"""The org's objects: those of the fact sheet's section 4 with their key prefixes, and the custom fields of this org."""

from dataclasses import dataclass, field, replace

from connectors.salesforce.sandbox.fields import (
    Field,
    address,
    area,
    day,
    email,
    fixed,
    flag,
    moment,
    money,
    number,
    percent,
    phone,
    pick,
    ref,
    text,
    url,
    whole,
)

STAGES = {  # stage: (probability, closed, won, forecast category)
    "Prospecting": (10, False, False, "Pipeline"),
    "Qualification": (10, False, False, "Pipeline"),
    "Needs Analysis": (20, False, False, "Pipeline"),
    "Value Proposition": (50, False, False, "Pipeline"),
    "Proposal/Price Quote": (75, False, False, "Best Case"),
    "Negotiation/Review": (90, False, False, "Commit"),
    "Closed Won": (100, True, True, "Closed"),
    "Closed Lost": (0, True, False, "Omitted"),
}
LEGAL_ENTITIES = ("US01", "GB01", "DE01", "AU01", "CA01", "CH01", "JP01")
FREQUENCIES = ("Monthly", "Quarterly", "Semiannual", "Annual", "Invoice Plan", "One-Time")


@dataclass(frozen=True)
class SObject:
    """One object: its key prefix and its fields by name."""

    name: str
    prefix: str
    fields: dict[str, Field] = field(hash=False)
    writable: bool = True
    has_currency: bool = True

    def find_field(self, name: str) -> Field | None:
        """A field by its name, whatever the case."""
        found = self.fields.get(name)
        if found is None:
            wanted = name.lower()
            found = next((each for key, each in self.fields.items() if key.lower() == wanted), None)
        return found

    def find_parent(self, relation: str) -> Field | None:
        """The reference field whose relationship has that name, whatever the case."""
        wanted = relation.lower()
        return next((each for each in self.fields.values() if each.relation.lower() == wanted), None)

    def with_field(self, extra: Field) -> "SObject":
        """The same object with one more field."""
        return replace(self, fields={**self.fields, extra.name: extra})


def sobject(name: str, prefix: str, *own: Field, writable: bool = True, currency: bool = True) -> SObject:
    """An object with its own fields and the system's."""
    system = [
        Field("Id", "id", 18, createable=False, updateable=False),
        flag("IsDeleted", createable=False, updateable=False),
        *([pick("CurrencyIsoCode", restricted=True)] if currency else []),
        fixed(moment("CreatedDate")),
        fixed(ref("CreatedById", "User")),
        fixed(moment("LastModifiedDate")),
        fixed(ref("LastModifiedById", "User")),
        fixed(moment("SystemModstamp")),
    ]
    integration = [
        text("Ext_Id__c", 80, external_id=True, unique=True, indexed=True),
        text("Legacy_Id__c", 80, external_id=True, indexed=True),
    ]
    fields = [system[0], *own, *(integration if writable else []), *system[1:]]
    return SObject(name, prefix, {each.name: each for each in fields}, writable, currency)


OWNER = ref("OwnerId", "User")
STATUS = (
    text("Q2C_Status__c", 80),
    text("Q2C_Invoice_Status__c", 80),
    text("Q2C_Payment_Status__c", 80),
    url("Q2C_Link__c"),
    text("Q2C_Hold__c", 80),
    text("Q2C_Hold_Message__c", 255),
    url("Q2C_Hold_Case__c"),
)
NUMBER = fixed(text("Name", 80))
BILLING_FREQUENCY = pick("SBQQ__BillingFrequency__c", *FREQUENCIES)
BILLING_TYPE = pick("SBQQ__BillingType__c", "Advance", "Arrears")
CHARGE_TYPE = pick("SBQQ__ChargeType__c", "One-Time", "Recurring", "Usage")

OBJECTS = (
    sobject(
        "Account", "001", text("Name", required=True), text("AccountNumber", 40, indexed=True),
        ref("ParentId", "Account", "ChildAccounts"),
        pick("Type", "Prospect", "Customer - Direct", "Customer - Channel"),
        pick("Industry"), OWNER, *address("Billing"), *address("Shipping"), phone("Phone"), url("Website"),
        area("Description"), fixed(ref("MasterRecordId", "Account")),
        pick("Legal_Entity__c", *LEGAL_ENTITIES, restricted=True),
    ),
    sobject(
        "Contact", "003", ref("AccountId", "Account", "Contacts"), text("FirstName", 40),
        text("LastName", 80, required=True),
        fixed(text("Name", 121)), pick("Salutation"), text("Title", 128), email("Email"), phone("Phone"),
        *address("Mailing"), OWNER,
    ),
    sobject(
        "Opportunity", "006", text("Name", 120, required=True), ref("AccountId", "Account", "Opportunities"), OWNER,
        pick("StageName", *STAGES, required=True), money("Amount"), day("CloseDate", required=True),
        percent("Probability", 0), fixed(flag("IsClosed")), fixed(flag("IsWon")),
        pick("Type", "New Business", "Existing Business", "Renewal"), fixed(pick("ForecastCategoryName")),
        ref("Pricebook2Id", "Pricebook2"), ref("ContractId", "Contract"), fixed(text("SyncedQuoteId", 18)),
        text("CampaignId", 18), fixed(flag("HasOpportunityLineItem")), area("Description"),
        pick("Legal_Entity__c", *LEGAL_ENTITIES, restricted=True), *STATUS,
    ),
    sobject(
        "OpportunityLineItem", "00k",
        ref("OpportunityId", "Opportunity", "OpportunityLineItems", required=True, updateable=False),
        ref("Product2Id", "Product2", updateable=False), ref("PricebookEntryId", "PricebookEntry", updateable=False),
        fixed(text("ProductCode")), fixed(text("Name", 376)), number("Quantity", required=True), money("UnitPrice"),
        fixed(money("ListPrice")), percent("Discount"), fixed(money("Subtotal")), money("TotalPrice"),
        day("ServiceDate"), text("Description"), whole("SortOrder"),
    ),
    sobject(
        "Product2", "01t", text("Name", required=True), text("ProductCode", indexed=True),
        text("StockKeepingUnit", 180, indexed=True), pick("Family"), flag("IsActive"), text("Description", 4000),
        pick("QuantityUnitOfMeasure"),
    ),
    sobject(
        "Pricebook2", "01s", text("Name", required=True), flag("IsActive"), fixed(flag("IsStandard")),
        text("Description"),
        currency=False,
    ),
    sobject(
        "PricebookEntry", "01u", ref("Pricebook2Id", "Pricebook2", "PricebookEntries", required=True, updateable=False),
        ref("Product2Id", "Product2", "PricebookEntries", required=True, updateable=False), fixed(text("Name")),
        fixed(text("ProductCode")), money("UnitPrice", required=True), flag("IsActive"), flag("UseStandardPrice"),
        ref("ProductSellingModelId", "ProductSellingModel", updateable=False),
    ),
    sobject(
        "ProductSellingModel", "0jP", text("Name", required=True),
        pick("SellingModelType", "OneTime", "TermDefined", "Evergreen", required=True, restricted=True),
        whole("PricingTerm"), pick("PricingTermUnit", "Months", "Quarterly", "Semi-Annual", "Annual"),
        pick("Status", "Draft", "Active", "Inactive"), currency=False,
    ),
    sobject(
        "Contract", "800", fixed(text("ContractNumber", 30)), ref("AccountId", "Account", "Contracts", required=True),
        OWNER,
        pick("Status", "Draft", "In Approval Process", "Activated", default="Draft"),
        fixed(pick("StatusCode", "Draft", "InApproval", "Activated")), day("StartDate"), fixed(day("EndDate")),
        whole("ContractTerm"), fixed(moment("ActivatedDate")), pick("OwnerExpirationNotice"), *address("Billing"),
        day("CustomerSignedDate"), ref("SBQQ__Quote__c", "SBQQ__Quote__c", "SBQQ__Contracts__r"),
        ref("SBQQ__Order__c", "Order", "SBQQ__Contracts__r"),
        ref("SBQQ__Opportunity__c", "Opportunity", "SBQQ__Contracts__r"),
    ),
    sobject(
        "Order", "801", fixed(text("OrderNumber", 30)), ref("AccountId", "Account", "Orders", required=True),
        ref("ContractId", "Contract", "Orders"), text("QuoteId", 18), ref("OpportunityId", "Opportunity", "Orders"),
        OWNER,
        pick("Status", "Draft", "Activated", required=True), fixed(pick("StatusCode", "Draft", "Activated")),
        day("EffectiveDate", required=True), day("EndDate"), pick("Type"), text("OrderReferenceNumber", 80),
        text("PoNumber", 80), day("PoDate"), ref("Pricebook2Id", "Pricebook2"), fixed(money("TotalAmount")),
        fixed(moment("ActivatedDate")), ref("BillToContactId", "Contact"), *address("Billing"), *address("Shipping"),
        flag("IsReductionOrder", updateable=False), ref("OriginalOrderId", "Order"),
        ref("SBQQ__Quote__c", "SBQQ__Quote__c", "SBQQ__Orders__r"), flag("SBQQ__Contracted__c"), *STATUS,
    ),
    sobject(
        "OrderItem", "802", fixed(text("OrderItemNumber", 30)),
        ref("OrderId", "Order", "OrderItems", required=True, updateable=False),
        ref("Product2Id", "Product2", updateable=False),
        ref("PricebookEntryId", "PricebookEntry", updateable=False, required=True), number("Quantity", required=True),
        fixed(number("AvailableQuantity")), money("UnitPrice", required=True), fixed(money("ListPrice")),
        fixed(money("TotalPrice")), day("ServiceDate"), day("EndDate"), text("Description"),
        ref("OriginalOrderItemId", "OrderItem"),
        ref("SBQQ__QuoteLine__c", "SBQQ__QuoteLine__c", "SBQQ__OrderProducts__r"),
        ref("SBQQ__RevisedOrderProduct__c", "OrderItem"), BILLING_FREQUENCY, BILLING_TYPE, CHARGE_TYPE,
        whole("SBQQ__DefaultSubscriptionTerm__c"),
    ),
    sobject(
        "SBQQ__Quote__c", "a0q", NUMBER, ref("SBQQ__Account__c", "Account", "SBQQ__Quotes__r"),
        ref("SBQQ__Opportunity2__c", "Opportunity", "SBQQ__Quotes2__r"), flag("SBQQ__Primary__c"), OWNER,
        pick("SBQQ__Status__c", "Draft", "In Review", "Approved", "Presented", "Accepted", "Rejected", default="Draft"),
        pick("SBQQ__Type__c", "Quote", "Amendment", "Renewal", default="Quote"), day("SBQQ__StartDate__c"),
        day("SBQQ__EndDate__c"), whole("SBQQ__SubscriptionTerm__c"), fixed(money("SBQQ__NetAmount__c")),
        fixed(money("SBQQ__ListAmount__c")), fixed(money("SBQQ__CustomerAmount__c")),
        ref("SBQQ__PriceBook__c", "Pricebook2"), text("SBQQ__PricebookId__c", 18),
        pick("SBQQ__PaymentTerms__c", "Net 30", "Net 45", "Net 60", "Due on Receipt"), BILLING_FREQUENCY,
        flag("SBQQ__Ordered__c"), ref("SBQQ__MasterContract__c", "Contract"), ref("SBQQ__PrimaryContact__c", "Contact"),
        fixed(whole("SBQQ__LineItemCount__c")),
    ),
    sobject(
        "SBQQ__QuoteLine__c", "a0r", NUMBER,
        ref("SBQQ__Quote__c", "SBQQ__Quote__c", "SBQQ__LineItems__r", required=True),
        ref("SBQQ__Product__c", "Product2"), fixed(text("SBQQ__ProductCode__c")),
        text("SBQQ__PricebookEntryId__c", 18), number("SBQQ__Quantity__c", default=1), money("SBQQ__ListPrice__c"),
        money("SBQQ__CustomerPrice__c"), money("SBQQ__NetPrice__c"), fixed(money("SBQQ__NetTotal__c")),
        money("SBQQ__RegularPrice__c"), day("SBQQ__StartDate__c"), day("SBQQ__EndDate__c"),
        fixed(day("SBQQ__EffectiveStartDate__c")), fixed(day("SBQQ__EffectiveEndDate__c")),
        whole("SBQQ__SubscriptionTerm__c"), pick("SBQQ__SubscriptionType__c", "Renewable", "One-time", "Evergreen"),
        pick("SBQQ__SubscriptionPricing__c", "Fixed Price", "Percent Of Total"), BILLING_FREQUENCY, BILLING_TYPE,
        CHARGE_TYPE,
        number("SBQQ__ProrateMultiplier__c", 6),
        ref("SBQQ__RequiredBy__c", "SBQQ__QuoteLine__c", "SBQQ__Components__r"),
        text("SBQQ__UpgradedSubscription__c", 18), whole("SBQQ__SegmentIndex__c"),
    ),
    sobject("User", "005", text("Username", 80), text("Name", 121), email("Email"), flag("IsActive"), writable=False),
    sobject(
        "Organization", "00D", text("Name", 80), flag("IsSandbox"), text("OrganizationType", 40),
        text("InstanceName", 5),
        writable=False, currency=False,
    ),
    sobject(
        "CurrencyType", "01L", text("IsoCode", 3, indexed=True), number("ConversionRate", 6), whole("DecimalPlaces"),
        flag("IsActive"), flag("IsCorporate"), writable=False, currency=False,
    ),
)  # fmt: skip

BY_NAME = {each.name: each for each in OBJECTS}
BY_LOWER_NAME = {each.name.lower(): each for each in OBJECTS}
BY_PREFIX = {each.prefix: each for each in OBJECTS}


class Schema:
    """The objects of one org: those above with the fields that its administrators added."""

    def __init__(self, added: list[dict]):
        self.objects = dict(BY_NAME)
        self.by_lower_name = dict(BY_LOWER_NAME)
        for given in added:
            self.add_field(given)
        self.count_children()

    def count_children(self) -> None:
        """Know which fields of which objects point at an object, by the name of its list of children."""
        self.children: dict[str, dict[str, tuple[str, Field]]] = {name: {} for name in self.objects}
        for each in self.objects.values():
            for column in each.fields.values():
                if column.children:
                    self.children[column.to][column.children.lower()] = (each.name, column)

    def find(self, name: str) -> SObject | None:
        """An object by its name, whatever the case."""
        return self.by_lower_name.get(name.lower())

    def find_children(self, parent: str, relation: str) -> tuple[SObject, Field] | None:
        """The object and field behind a subquery's FROM."""
        found = self.children[parent].get(relation.lower())
        return (self.objects[found[0]], found[1]) if found else None

    def add_field(self, given: dict) -> None:
        """A custom field: {"object", "name", "type", "length", "scale", "externalId", "unique", "values"}."""
        target = self.find(str(given.get("object", "")))
        name = str(given.get("name", ""))
        if target is None or not target.writable or not name.endswith("__c"):
            raise ValueError("a custom field needs an object that can be written and a name that ends in __c")
        kinds = {"string", "textarea", "email", "url", "picklist", "currency", "double", "percent", "int", "boolean"}
        kind = str(given.get("type", "string"))
        if kind not in kinds | {"date", "datetime"}:
            raise ValueError(f"no type {kind}")
        is_external = bool(given.get("externalId"))
        extra = Field(
            name, kind, int(given.get("length") or 255), int(given.get("scale") or 0), external_id=is_external,
            unique=bool(given.get("unique")), indexed=is_external, values=tuple(given.get("values") or ()),
            restricted=bool(given.get("restricted")), default=False if kind == "boolean" else None,
        )  # fmt: skip
        changed = target.with_field(extra)
        self.objects[changed.name] = self.by_lower_name[changed.name.lower()] = changed
