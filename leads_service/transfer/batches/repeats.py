"""Rows of a batch that mean one lead, settled as if they came one after the other, before anything is written."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from leads_service.contract.lead import TOO_LARGE
from leads_service.contract.problems import PROBLEMS
from leads_service.contract.sizes import json_sizes
from leads_service.leads.record import LARGEST, SIZED
from leads_service.transfer.rows import Incoming
from leads_service.transfer.sources import Fault

_KEY = "notes."  # in front of a key of notes; no column begins so
_ABSENT = object()


class Met(NamedTuple):
    """A lead that the table has and a row of the batch means: `key` is its e-mail as the unique index has it, `own`
    whether the importing company may touch it."""

    id: str
    key: str | None
    own: bool


class Sizes(NamedTuple):
    """How large a lead of the table and a row that means it are, {column of SIZED: bytes}; and, where both may be too
    much, the bytes of the lead's notes once the row has added to them."""

    lead: dict[str, int]
    row: dict[str, int]
    together: int | None


@dataclass
class Target:
    """A lead that rows of the batch mean: where it comes from, and what has become of it so far.

    `maker` is the number of the row that makes it (None: the table has it), `was` its key in the table, `changes` the
    parts and values that rows brought, `last` the last of those rows, `changers` how many they are.
    """

    id: str
    key: str | None
    own: bool = True
    maker: int | None = None
    was: str | None = None
    changes: dict[str, object] = field(default_factory=dict)
    last: int | None = None
    changers: int = 0


class Meeting(NamedTuple):
    """The row `number` means a lead that is there already, by its id or else by its e-mail."""

    number: int
    target: Target
    by_id: bool


@dataclass
class Settled:
    """What each row does: it makes a lead, meets one, or is refused."""

    made: list[Target] = field(default_factory=list)
    met: list[Meeting] = field(default_factory=list)
    refused: dict[int, Fault] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)

    def parked(self) -> list[str]:
        """The ids of the leads of the table whose e-mail another one gets: it must be free before that is written."""
        holders = {target.key: target for target in self.targets if target.key}
        return [target.id for target in self.targets
                if target.maker is None and target.was and holders.get(target.was, target) is not target]


def taken(by_id: bool) -> Fault:
    """The fault of a row whose id, or else e-mail, belongs to a lead that it cannot be."""
    column = "id" if by_id else "email"
    return Fault(column, f"{column}_taken", PROBLEMS[f"{column}_taken"].sentence)


def settle(batch: dict[int, Incoming], keys: dict[int, str | None], there: Iterable[Met], refused: dict[int, Fault], *,
           update: bool) -> Settled:
    """What each row of `batch` (by number, in order) does to the leads that are `there`.

    `keys` are the rows' e-mails as the unique index has them: only PostgreSQL knows which of them are equal. `refused`
    rows do nothing. Time is proportional to the rows, however often one lead is meant.
    """
    settled = Settled(refused=dict(refused))
    by_id, by_key = {}, {}

    def know(target):
        by_id[target.id] = target
        if target.key:
            by_key[target.key] = target
        settled.targets.append(target)

    for met in there:
        if met.id not in by_id:
            know(Target(met.id, met.key, own=met.own, was=met.key))
    for number, incoming in batch.items():
        if number in refused:
            continue
        lead_id, key = str(incoming.lead["id"]), keys[number]
        target = by_id.get(lead_id)
        found_by_id = target is not None
        target = target or (key and by_key.get(key))
        if not target:
            target = Target(lead_id, key, maker=number)
            know(target)
            settled.made.append(target)
        elif not target.own:
            settled.refused[number] = taken(found_by_id)
        elif update and "email" in incoming.given and key != target.key:
            if key and key in by_key:
                settled.refused[number] = taken(by_id=False)
                continue
            by_key.pop(target.key, None)
            target.key = key
            if key:
                by_key[key] = target
            settled.met.append(Meeting(number, target, found_by_id))
        else:
            settled.met.append(Meeting(number, target, found_by_id))
    return settled


def oversized(settled: Settled, batch: dict[int, Incoming], sizes: dict[int, Sizes]) -> dict[int, Fault]:
    """{number: Fault} of the rows that would make their lead larger than it may be, and larger than it was.

    `sizes` are those of the rows that meet a lead of the table. A key of notes that several rows of the batch give
    counts as often as it is given.
    """
    refused, now = {}, {}
    for number, target, _ in settled.met:
        row, met = batch[number], sizes.get(number)
        given = row.given & SIZED.keys()
        if not given:
            continue
        new = met.row if met else _sizes_of(row)
        before = now.get(target.id) or (met.lead if met else _sizes_of(batch[target.maker]))
        after = before | {column: new[column] for column in given}
        if "notes" in given and not row.copy:
            first = met and target.id not in now
            after["notes"] = met.together if first and met.together else before["notes"] + new["notes"]
        if LARGEST < sum(after.values()) > sum(before.values()):
            refused[number] = Fault("; ".join(filter(given.__contains__, SIZED)), "validation_failed", TOO_LARGE)
        else:
            now[target.id] = after
    return refused


def _sizes_of(incoming):
    return {column: max(json_sizes(incoming.lead[column])) for column in SIZED}


def differences(settled: Settled, batch: dict[int, Incoming], differing: dict[int, set[str]], *,
                update: bool) -> list[Meeting]:
    """The meetings whose row has a value that its lead has not when the row's turn comes; with `update`, the lead gets
    it. `differing` are the parts (as _parts names them) in which a row differs from its lead in the table."""
    different, plain = [], defaultdict(dict)

    def part_of(target, part):
        # Once for a part of a lead, which may be large, and not once for each row that meets it.
        if part not in plain[target.id]:
            if part.startswith(_KEY) and part not in target.changes:
                value = _now(target, batch, "notes").get(part.removeprefix(_KEY), _ABSENT)
            elif part == "notes":
                value = _together({part: _now(target, batch, part)}, _added(target))[part]
            else:
                value = _now(target, batch, part)
            plain[target.id][part] = comparable(value)
        return plain[target.id][part]

    for meeting in settled.met:
        number, target, _ = meeting
        parts = _parts(batch[number])
        known = target.maker is not None
        notes_known = known or "notes" in target.changes
        new, added = {}, _added(target) if "notes" in parts else {}
        for part, value in parts.items():
            if known or part in target.changes or (notes_known and part.startswith(_KEY)):
                is_new = comparable(value) != part_of(target, part)
            elif part == "notes" and added:  # a copy of the notes that earlier rows added to
                is_new = (any(key.startswith(_KEY) and key not in added for key in differing[number])
                          or any(comparable(value.get(key.removeprefix(_KEY), _ABSENT)) != part_of(target, key)
                                 for key in added))
            else:
                is_new = part in differing[number]
            if is_new:
                new[part] = value
        if not new:
            continue
        different.append(meeting)
        if update:
            target.last, target.changers = number, target.changers + 1
            new.pop("id", None)
            if "notes" in new:
                for part in added:
                    del target.changes[part]
            target.changes |= new
            for part in new:
                plain[target.id].pop("notes" if part.startswith(_KEY) else part, None)
                plain[target.id].pop(part, None)
            if "notes" in new:
                plain[target.id] = {part: value for part, value in plain[target.id].items()
                                    if not part.startswith(_KEY)}
    return different


def _added(target):
    """What rows added to the notes of `target`, key by key, since they are known as a whole."""
    return {part: value for part, value in target.changes.items() if part.startswith(_KEY)}


def _now(target, batch, part):
    return target.changes[part] if part in target.changes else batch[target.maker].lead.get(part)


def _parts(incoming):
    """{part: value} of what a row gives: its columns; of notes that add to a lead's, each key by itself."""
    parts = {column: incoming.lead.get(column) for column in incoming.given}
    if "notes" in parts and not incoming.copy:
        parts |= {_KEY + key: value for key, value in parts.pop("notes").items()}
    return parts


def _together(lead, parts):
    """The columns and values of `lead` with the parts put in."""
    lead = lead | {part: value for part, value in parts.items() if not part.startswith(_KEY)}
    keys = {part.removeprefix(_KEY): value for part, value in parts.items() if part.startswith(_KEY)}
    return lead | {"notes": lead.get("notes", {}) | keys} if keys else lead


def merged(settled: Settled, batch: dict[int, Incoming]) -> dict[int, Incoming]:
    """The rows to be written in place of those of the same number, because others of the batch changed their lead."""
    rows = {}
    for target in settled.targets:
        if target.maker is not None and target.changes:
            maker = batch[target.maker]
            rows[target.maker] = replace(maker, lead=_together(maker.lead, target.changes))
        elif target.changers > 1:
            last, lead = batch[target.last], _together({}, target.changes)
            rows[target.last] = Incoming(last.row, last.lead | lead, frozenset(lead), copy="notes" in target.changes)
    return rows


def comparable(value: object) -> object:
    """`value` as PostgreSQL would compare it: numbers by value, true and false apart from 1 and 0, ids as text."""
    if isinstance(value, bool):
        return ("bool", value)
    if value is None or isinstance(value, int | float | str) or hasattr(value, "tzinfo"):
        return value
    if isinstance(value, dict):
        return {key: comparable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    return str(value)
