"""Rows of a batch that mean one lead, settled as if they came one after the other, before anything is written."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from leads_service.contract.problems import PROBLEMS
from leads_service.transfer.rows import Incoming
from leads_service.transfer.sources import Fault


class Met(NamedTuple):
    """A lead that the table has and a row of the batch means: `key` is its e-mail as the unique index has it, `own`
    whether the importing company may touch it."""

    id: str
    key: str | None
    own: bool


@dataclass
class Target:
    """A lead that rows of the batch mean: where it comes from, and what has become of it so far.

    `maker` is the number of the row that makes it (None: the table has it), `was` its key in the table, `changes` the
    columns and values that rows brought, `last` the last of those rows, `changers` how many they are.
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


def differences(settled: Settled, batch: dict[int, Incoming], columns: dict[int, list[str]], *,
                update: bool) -> list[Meeting]:
    """The meetings whose row has a value that its lead has not when the row's turn comes; with `update`, the lead gets
    it. `columns` are those in which a row differs from its lead in the table."""
    different, plain = [], {}

    def of_target(target, column):
        # Once for a column of a lead, which may be large, and not once for each row that meets it.
        if (target.id, column) not in plain:
            value = target.changes[column] if column in target.changes else batch[target.maker].lead.get(column)
            plain[target.id, column] = comparable(value)
        return plain[target.id, column]

    for meeting in settled.met:
        number, target, _ = meeting
        incoming = batch[number]
        new = [column for column in sorted(incoming.given)
               if (comparable(incoming.lead.get(column)) != of_target(target, column)
                   if target.maker is not None or column in target.changes else column in columns[number])]
        if not new:
            continue
        different.append(meeting)
        if update:
            target.last, target.changers = number, target.changers + 1
            for column in incoming.given - {"id"}:
                target.changes[column] = incoming.lead.get(column)
                plain.pop((target.id, column), None)
    return different


def merged(settled: Settled, batch: dict[int, Incoming]) -> dict[int, Incoming]:
    """The rows to be written in place of those of the same number, because others of the batch changed their lead."""
    rows = {}
    for target in settled.targets:
        if target.maker is not None and target.changes:
            maker = batch[target.maker]
            rows[target.maker] = Incoming(maker.row, maker.lead | target.changes, maker.given)
        elif target.changers > 1:
            last = batch[target.last]
            rows[target.last] = Incoming(last.row, last.lead | target.changes, frozenset(target.changes))
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
