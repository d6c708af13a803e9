"""How one field of a Salesforce object is declared: its type, what may be written, what describe says of it."""

from dataclasses import dataclass, replace
from typing import Any

NUMBERS = frozenset({"currency", "double", "percent", "int"})
TEXTS = frozenset({"string", "textarea", "email", "phone", "url", "picklist"})
LABELS = {"Id": "Record ID"}


@dataclass(frozen=True)
class Field:
    """One field; `to`, `relation` and `children` (what the parent calls us) are for references."""

    name: str
    type: str
    length: int = 0
    scale: int = 0
    required: bool = False
    createable: bool = True
    updateable: bool = True
    external_id: bool = False
    unique: bool = False
    values: tuple[str, ...] = ()
    restricted: bool = False
    default: Any = None
    to: str = ""
    relation: str = ""
    children: str = ""
    indexed: bool = False

    @property
    def custom(self) -> bool:
        """Whether somebody of the org or of a package made it."""
        return self.name.endswith("__c")

    def but(self, **changes: Any) -> "Field":
        """The same field with something different."""
        return replace(self, **changes)

    def describe(self) -> dict:
        """As describe shows it."""
        number = self.type in NUMBERS
        return {
            "name": self.name,
            "label": LABELS.get(self.name) or self.name.removesuffix("__c").replace("_", " ").strip(),
            "type": self.type,
            "length": self.length if self.type in TEXTS or self.type in {"id", "reference"} else 0,
            "byteLength": self.length * 3,
            "precision": 18 if number and self.type != "int" else 0,
            "scale": self.scale if number else 0,
            "digits": 9 if self.type == "int" else 0,
            "nillable": not self.required and self.type not in {"boolean", "id"},
            "createable": self.createable,
            "updateable": self.updateable,
            "calculated": False,
            "autoNumber": self.type == "string" and not self.createable and not self.updateable,
            "defaultedOnCreate": self.default is not None or self.type == "boolean",
            "custom": self.custom,
            "externalId": self.external_id,
            "idLookup": self.external_id or self.name == "Id",
            "unique": self.unique,
            "caseSensitive": False,
            "filterable": self.type != "textarea",
            "sortable": self.type != "textarea",
            "groupable": self.type not in {"textarea", "currency", "double", "percent"},
            "restrictedPicklist": self.restricted,
            "picklistValues": [
                {
                    "value": value,
                    "label": value,
                    "active": True,
                    "defaultValue": value == self.default,
                    "validFor": None,
                }
                for value in self.values
            ],
            "referenceTo": [self.to] if self.to else [],
            "relationshipName": self.relation or None,
        }


def text(name: str, length: int = 255, **more: Any) -> Field:
    """A line of text."""
    return Field(name, "string", length, **more)


def area(name: str, length: int = 32000) -> Field:
    """Text of several lines."""
    return Field(name, "textarea", length)


def email(name: str) -> Field:
    """An e-mail address."""
    return Field(name, "email", 80, indexed=True)


def phone(name: str) -> Field:
    """A telephone number."""
    return Field(name, "phone", 40)


def url(name: str) -> Field:
    """A web address."""
    return Field(name, "url", 255)


def pick(name: str, *values: str, **more: Any) -> Field:
    """A picklist; any text is taken unless `restricted`."""
    return Field(name, "picklist", 255, values=values, **more)


def money(name: str, scale: int = 2, **more: Any) -> Field:
    """An amount in the record's currency, in major units."""
    return Field(name, "currency", scale=scale, **more)


def number(name: str, scale: int = 2, **more: Any) -> Field:
    """A number."""
    return Field(name, "double", scale=scale, **more)


def percent(name: str, scale: int = 2, **more: Any) -> Field:
    """A percentage: 20 means 20 %."""
    return Field(name, "percent", scale=scale, **more)


def whole(name: str, **more: Any) -> Field:
    """A whole number."""
    return Field(name, "int", **more)


def flag(name: str, default: bool = False, **more: Any) -> Field:
    """True or false, never null."""
    return Field(name, "boolean", default=default, **more)


def day(name: str, **more: Any) -> Field:
    """A date."""
    return Field(name, "date", **more)


def moment(name: str, **more: Any) -> Field:
    """An instant."""
    return Field(name, "datetime", **more)


def ref(name: str, to: str, children: str = "", **more: Any) -> Field:
    """A reference to another record; `children` is the name under which the other's subqueries find ours."""
    relation = name.removesuffix("Id") if name.endswith("Id") else name.removesuffix("__c") + "__r"
    return Field(name, "reference", 18, to=to, relation=relation, children=children, indexed=True, **more)


def fixed(field: Field) -> Field:
    """The same field, which only the system writes."""
    return field.but(createable=False, updateable=False)


def address(kind: str) -> tuple[Field, ...]:
    """The five parts of an address, e.g. BillingStreet; state and country are free text."""
    return (
        Field(f"{kind}Street", "textarea", 255),
        text(f"{kind}City", 40),
        text(f"{kind}State", 80),
        text(f"{kind}PostalCode", 20, indexed=True),
        text(f"{kind}Country", 80),
    )
