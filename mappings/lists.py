"""The targets' lists for many rows at once: each list is read once, however many rows name its entries."""

from __future__ import annotations

from collections import defaultdict

from connectors.models import Connection, ReferenceEntry
from mappings import suggestions
from mappings.columns import lost_zeros, without_zeros
from mappings.kinds import FREE, OWN_LISTS, Kind
from mappings.suggestions import Target

HINTS_MAX = 300  # looking for what was probably meant is for people: nobody reads the thousandth


class TargetList:
    """One list of one system, by id, code and name."""

    def __init__(self, kind: Kind, connection: str) -> None:
        if kind.target in OWN_LISTS:
            self.known = suggestions.own_entries(kind, is_whole=True)
        else:
            rows = ReferenceEntry.objects.filter(connection__code=connection, list_name=kind.target)
            ordered = rows.order_by("-is_active", "code", "external_id")
            self.known = [Target(*row) for row in ordered.values_list("external_id", "code", "name")]
        self.system = Connection.objects.filter(code=connection).values_list("name", flat=True).first() or "The portal"
        self.by_id = {target.id: target for target in self.known}
        self.by_code: dict[str, list[Target]] = defaultdict(list)
        self.by_name: dict[str, list[Target]] = defaultdict(list)
        for target in self.known:
            self.by_code[target.code.casefold()].append(target)
            self.by_name[target.name.casefold()].append(target)
        self.zeros = without_zeros([*self.by_id, *(target.code for target in self.known)])

    def find(self, text: str) -> list[Target]:
        """The entries that a text names: by id, else by code, else by name; also as "id · code · name"."""
        found = self.by_id.get(text.split(" · ")[0].strip())
        if found:
            return [found]
        plain = text.casefold()
        return (self.by_code.get(plain) if plain else None) or self.by_name.get(plain) or []


class ValueReader:
    """As `suggestions.read_value`, for many rows: no query per row. What an entry may be is `drafts.check_lines`'."""

    def __init__(self) -> None:
        self._lists: dict[tuple[str, str], TargetList] = {}
        self._holders = suggestions.Holders()
        self._hints = 0

    def list_of(self, kind: Kind, connection: str, legal_entity: str, key: str) -> TargetList | None:
        """The list that a value of this kind stands in, for a rule of this system, entity and key; None where any text
        may stand, and where several systems have one (`drafts.check_lines` asks for one of them then)."""
        held_by = self._holders.of(kind, connection, legal_entity, key)
        system = held_by[0] if len(held_by) == 1 else ""
        if kind.target == FREE or (kind.target not in OWN_LISTS and not system):
            return None
        if (kind.target, system) not in self._lists:
            self._lists[(kind.target, system)] = TargetList(kind, system)
        return self._lists[(kind.target, system)]

    def read(self, kind: Kind, text: str, *, connection: str, legal_entity: str, key: str) -> tuple[str, str]:
        """The id that a text means, and its name. Raises ValueError saying why it can't be, with the likely one."""
        text = " ".join(text.split())
        if not text:
            raise ValueError("is empty. Write the id, code or name that it becomes.")
        found = self.list_of(kind, connection, legal_entity, key)
        if found is None or (kind.code == "billing_product" and text == "create"):
            return text, ""
        if not found.known:  # we never read its list, so nothing speaks against it
            return text.split(" · ")[0].strip(), ""
        targets = found.find(text)
        if len(targets) == 1:
            return targets[0].id, targets[0].name
        if targets:
            choices = ", ".join(target.text for target in targets[: suggestions.SEVERAL])
            raise ValueError(f"is what {len(targets)} entries are called: {choices}. Write the id.")
        if full := lost_zeros(text, found.zeros):
            raise ValueError(f"has lost its leading zeros in the spreadsheet. Write {full}, in a column of text.")
        self._hints += 1
        said = suggestions.unknown(kind, text, found.known, found.system, near_ones=self._hints <= HINTS_MAX)
        raise ValueError(said)
