"""Batches of leads into the table, each in a transaction of its own."""

import contextlib
import functools
import math
import uuid
from collections import Counter

import psycopg2
from peewee import DataError, IntegrityError

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.problems import PROBLEMS, Problem, unknown_row
from leads_service.contract.sentences import Sentence
from leads_service.database.failures import retrying
from leads_service.database.pool import Database
from leads_service.leads.filters import of_company, where
from leads_service.leads.record import CLIENT_IS_OPEN, COLUMNS, LARGEST, LINKED, SIZED, UNPACKED
from leads_service.transfer.batches.probing import probe
from leads_service.transfer.batches.repeats import Met, Sizes, differences, merged, oversized, settle, taken
from leads_service.transfer.batches.staging import (
    BY_EMAIL,
    BY_ID,
    CHANGES,
    COPIED_FIRST,
    COPY_HOLDING,
    COPY_LARGE,
    COPY_MET,
    HOLDING,
    INSERT,
    STAGED,
    stage,
)
from leads_service.transfer.rows import Incoming
from leads_service.transfer.sources import Fault, Row

_MORE_ROOM = 256  # bytes of leads for a character of a row
_TRIES = 4  # of a batch whose leads other writers make, change or remove meanwhile

_KEPT_BY_ID = Sentence("Ignorée : le lead {id} existe déjà et diffère.",
                       "Skipped: the lead {id} exists already and differs.")
_KEPT_BY_EMAIL = Sentence("Ignorée : le lead {id} a déjà cet e-mail.",
                          "Skipped: the lead {id} has this e-mail already.")

# PostgreSQL, planning for the empty table that it last counted, reads the whole one for each row. It would count again
# in a minute or so; an import is faster.
_OUTGROWN = """SELECT reltuples <= 0 OR relpages * 4 < pg_relation_size(oid) / current_setting('block_size')::integer
               FROM pg_class WHERE oid = %s::regclass"""
_GIVES_LARGE = f"given && ARRAY{list(SIZED)}"
# The leads that rows meet; of those that a row gives something large, how many bytes that is now, unpacked.
_THERE = f"""
    SELECT id::text, lower(email), own, number, CASE WHEN own AND {_GIVES_LARGE} THEN {{unpacked}} ELSE 0 END
    FROM (SELECT found.*, number, given FROM leads_incoming i
          CROSS JOIN LATERAL ({BY_ID} UNION ALL {BY_EMAIL}) AS found WHERE number <> ALL (%s)) AS found
    CROSS JOIN LATERAL (SELECT coalesce({{met}}, false) AS own) AS company""".replace("{leads}", "leads")
# `adds`: the row adds to what is known, key by key of notes; else it is a copy. Notes are opened once (the path of
# nothing does, no more), not for every key: 2000 keys took 60 ms. And not taken apart, which takes 5 ms of 16,000.
_DIFFERENCES = f"""
    SELECT number, array_remove(ARRAY[{', '.join(
        f"CASE WHEN '{column}' = ANY (given) AND there.{column} IS DISTINCT FROM i.{column} THEN '{column}' END"
        for column in LEAD_COLUMNS)}], NULL) || ARRAY(
            SELECT 'notes.' || key FROM (
                SELECT i.notes #> '{{}}' AS new,
                       CASE jsonb_typeof(there.notes) WHEN 'object' THEN there.notes #> '{{}}' END AS old
                WHERE 'notes' = ANY (given) OFFSET 0) AS opened
            CROSS JOIN LATERAL (
                SELECT key FROM jsonb_each(new) WHERE value IS DISTINCT FROM old -> key
                UNION ALL SELECT key FROM jsonb_object_keys(CASE WHEN NOT adds THEN old END) AS key
                WHERE NOT new ? key) AS different)
    FROM unnest(%s, %s::uuid[]) AS pair(number, lead_id) JOIN leads_incoming i USING (number)
    CROSS JOIN LATERAL (SELECT * FROM leads WHERE id = lead_id LIMIT 1) AS there"""
# Of rows that give something large: how many bytes each column of SIZED has in the lead and in the row, and, where both
# may be too much, what notes have once the row has added to them. To add and write out 16,000 keys takes 5 ms.
_SIZES = f"""
    SELECT number, there, row, CASE WHEN adds AND 'notes' = ANY (given) AND {LARGEST} < (
        SELECT sum(bytes) FROM unnest(there || row) AS bytes) THEN octet_length((lead.notes || i.notes)::text) END
    FROM unnest(%s, %s::uuid[]) AS pair(number, lead_id) JOIN leads_incoming i USING (number)
    LEFT JOIN LATERAL (SELECT * FROM leads WHERE id = lead_id LIMIT 1) AS lead ON true
    CROSS JOIN LATERAL (
        SELECT ARRAY[{", ".join(f"coalesce(octet_length(lead.{column}::text), 0)" for column in SIZED)}] AS there,
               ARRAY[{", ".join(f"coalesce(octet_length(i.{column}::text), 0)" for column in SIZED)}] AS row OFFSET 0
    ) AS sizes
    WHERE {_GIVES_LARGE}"""
# Rows that mean a lead that was merged into another one, by its id or else by its e-mail, unless a lead has that
# itself: that other one, whether it is the importing company's, and whether the row's e-mail was merged into it, too.
_MERGED = """
    SELECT number, kept::text, coalesce((SELECT {met} FROM {real} WHERE id = kept), false), by_id,
           EXISTS (SELECT FROM leads_merged WHERE email_key = lower(email) AND leads_merged_into(lead_id) = kept)
    FROM (SELECT DISTINCT ON (number) i.number, i.email, by_id, leads_merged_into(m.lead_id) AS kept
          FROM (SELECT *, lower(email) AS key, CASE WHEN email IS NOT NULL THEN leads_holding(email) END AS holder
                FROM unnest(%s::integer[], %s::uuid[], %s::text[]) AS i (number, id, email) OFFSET 0) AS i
          CROSS JOIN LATERAL (
              SELECT lead_id, true AS by_id FROM leads_merged WHERE lead_id = i.id
              UNION ALL SELECT lead_id, false FROM leads_merged WHERE email_key = i.key) AS m
          WHERE NOT EXISTS (SELECT FROM {real} WHERE id = i.id)
          AND (by_id OR NOT EXISTS (SELECT FROM {real} WHERE id = i.holder))
          AND leads_merged_into(m.lead_id) IS NOT NULL ORDER BY i.number, by_id DESC) AS meant"""
# migrations/0014_erased.py
_ERASED = ("SELECT leads_are_erased(array_agg(number), array_agg(id), array_agg(email::text), array_agg(phone::text), "
           "%s::uuid) FROM leads_incoming")


class ConflictError(ValueError):
    """A row is there already and `on_conflict` is fail: nothing was written. Has the row and the fault."""

    def __init__(self, row: Row, fault: Fault):
        super().__init__(str(fault.message))
        self.row = row
        self.fault = fault


class _Raced(Exception):
    """Another writer removed one of the batch's leads meanwhile: look again."""


class Writer:
    """Writes batches; all of its methods but `cancel` run in one thread, whose connection it uses.

    `room` is how many bytes of what may be large of leads the rows may meet with such values of their own; each
    character of a row makes room for _MORE_ROOM more. `rest` is the first row that there was no room for: neither it
    nor those behind it are written.
    """

    def __init__(self, database: Database, on_conflict: str, dry_run: bool, company_id: uuid.UUID | None,
                 room: float = math.inf):
        self._room = room
        self.rest = None
        self._company_id = company_id
        self._database = database
        self._on_conflict = on_conflict
        self._update = on_conflict == "update"
        self._dry_run = dry_run
        self._connection = None
        self._tables = ["leads"]
        self._unpacked = UNPACKED
        self._holding = (COPY_HOLDING if dry_run else HOLDING).format(leads="leads")
        self._scope = contextlib.ExitStack()

    @property
    def all_or_nothing(self) -> bool:
        """Whether one transaction is around all batches."""
        return self._dry_run or self._on_conflict == "fail"

    def begin(self) -> None:
        """Take a connection."""
        self._scope.enter_context(self._database.connection_context())
        self._connection = self._database.connection()
        self._types = dict(self._database.execute_sql(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'leads'::regclass AND attnum > 0 AND NOT attisdropped").fetchall())
        if self.all_or_nothing:
            self._whole = self._scope.enter_context(self._database.atomic())
        if self._dry_run:
            # From here on, `leads` is a table of this connection's own, into which the real leads that a batch meets
            # are copied: a dry run does what a real one does, to the copies.
            schema, = self._database.execute_sql("SELECT quote_ident(nspname) FROM pg_class c JOIN pg_namespace n "
                                                 "ON n.oid = relnamespace WHERE c.oid = 'leads'::regclass").fetchone()
            self._real = f"{schema}.leads"
            self._tables.append(self._real)
            self._unpacked = f"coalesce((SELECT {UNPACKED} FROM {self._real} l WHERE l.id = found.id), 0)"
            for statement in ("CREATE TEMP TABLE leads (LIKE leads INCLUDING DEFAULTS INCLUDING CONSTRAINTS "
                              "INCLUDING STORAGE INCLUDING COMPRESSION, copied_whole boolean NOT NULL DEFAULT false, "
                              "PRIMARY KEY (id)) ON COMMIT DROP",
                              "CREATE UNIQUE INDEX uq_leads_email_lower ON leads (lower(email))"):
                self._database.execute_sql(statement)

    def cancel(self) -> None:
        """End the statement under way, from another thread; it fails then."""
        if self._connection:
            with contextlib.suppress(psycopg2.Error):
                self._connection.cancel()

    def end(self, failure: BaseException | None) -> None:
        """Give the connection back; with a failure, an all-or-nothing import is undone."""
        if self._dry_run and not failure:
            self._whole.rollback()
        self._scope.__exit__(type(failure) if failure else None, failure, None)

    def write(self, batch: list[Incoming]) -> tuple[dict[str, int], list[tuple[Row, Fault]]]:
        """Write `batch`; gives {outcome: rows}, and the rows that were refused or skipped although they differ, with
        the reasons. Raises ConflictError, Problem("busy") and database errors."""
        numbered, refused = dict(enumerate(batch)), {}
        for _ in range(_TRIES if batch else 0):
            self._follow_merges(numbered, refused)
            try:
                return retrying(functools.partial(self._transaction, numbered, refused))
            except (IntegrityError, DataError):
                # Rows that only PostgreSQL refuses; or another writer made one of the leads: then the probe finds none.
                self._follow_merges(numbered, refused)
                refused |= retrying(functools.partial(self._probe, numbered, refused))
            except _Raced:
                pass
        if batch:
            raise Problem("busy", headers={"Retry-After": "1"})
        return {}, []

    def _follow_merges(self, batch, refused):
        """Have the rows of leads that were merged mean the lead that they were merged into. It is not their copy: they
        add to it, and its id, times and e-mail stay. Where it is another company's, they are refused."""
        execute = self._database.execute_sql
        if not execute("SELECT EXISTS (SELECT FROM leads_merged)").fetchone()[0]:
            return
        met, parameters = where(of_company(self._company_id))
        rows = [(number, str(each.lead["id"]), each.lead.get("email")) for number, each in batch.items()]
        found = execute(_MERGED.format(met=met, real=self._tables[-1]),
                        [*parameters, *map(list, zip(*rows, strict=True))]).fetchall()
        for number, kept, own, by_id, its_email in found:
            if not own:
                refused[number] = taken(by_id)
                continue
            leave = {"id", "created_at", "updated_at"} | ({"email"} if its_email else set())
            row = batch[number]
            given = {column for column in row.given - leave if row.lead.get(column) not in (None, "", [], {})}
            batch[number] = Incoming(row.row, row.lead | {"id": uuid.UUID(kept)}, frozenset(given), copy=False)

    def _transaction(self, batch, refused):
        execute = self._database.execute_sql
        with self._database.atomic():
            execute(STAGED)
            execute("TRUNCATE leads_incoming")
            for table in self._tables:
                if execute(_OUTGROWN, [table]).fetchone()[0]:
                    execute(f"ANALYZE (SKIP_LOCKED) {table}")
            stage(self._database, {number: each for number, each in batch.items() if number not in refused})
            if self._dry_run:
                execute(COPY_MET.format(real=self._real, columns=COPIED_FIRST, rows="true"))
            there, weights = self._there(refused)
            room = self._make_room(batch, weights)
            if self._dry_run:
                given = [lead_id for number, lead_id in weights if number in batch]
                execute(COPY_LARGE.format(real=self._real), [given])
            refused = {number: fault for number, fault in refused.items() if number in batch} | self._orphans(batch)
            keys = self._keys()
            refused = self._erased(batch, keys, there) | refused
            settled = self._settled(batch, keys, there, refused)
            if self._on_conflict == "fail":
                self._demand_no_conflict(batch, settled)
            different = differences(settled, batch, self._differing(settled), update=self._update)
            if self._update:
                self._change(settled, batch)
            makers = [target.maker for target in settled.made]
            if makers:
                execute(f"{INSERT}ANY (%s) ORDER BY number", (makers,))
        faults = [(batch[number].row, fault) for number, fault in settled.refused.items()]
        if not self._update:
            faults += [(batch[number].row, Fault("id", "id_taken", _KEPT_BY_ID.format(id=target.id)) if by_id else
                        Fault("email", "email_taken", _KEPT_BY_EMAIL.format(id=target.id)))
                       for number, target, by_id in different]
        self._room = room
        updated = len(different) if self._update else 0
        counts = {"created": len(makers), "updated": updated, "skipped": len(settled.met) - updated,
                  "rejected": len(settled.refused)}
        return counts, faults

    def _keys(self):
        """{number: e-mail as the unique index has it} of the staged rows."""
        return dict(self._database.execute_sql("SELECT number, lower(email) FROM leads_incoming").fetchall())

    def _there(self, refused):
        """The leads that the staged rows meet, by id or by e-mail, and {(number, id): bytes} of what _THERE weighs."""
        met, parameters = where(of_company(self._company_id))
        rows = self._database.execute_sql(_THERE.format(met=met, holding=self._holding, unpacked=self._unpacked),
                                          [list(refused), *parameters])
        there, weights = [], {}
        for *met, number, weight in rows.fetchall():
            there.append(Met(*met))
            if weight:
                weights[number, there[-1].id] = weight
        return there, weights

    def _make_room(self, batch, weights):
        """Take the rows that there is no room for out of the batch; the room that is left behind the others."""
        room, of_row = self._room, Counter()
        for (number, _), weight in weights.items():
            of_row[number] += weight
        for number in sorted(batch):
            room += _MORE_ROOM * sum(map(len, batch[number].row.original))
            if of_row[number] and room <= 0:
                self._database.execute_sql("DELETE FROM leads_incoming WHERE number >= %s", [number])
                self.rest = batch[number].row
                for late in [each for each in batch if each >= number]:
                    del batch[late]
                return room
            room -= of_row[number]
        return room

    def _settled(self, batch, keys, there, refused):
        """The batch, settled, without the rows that would make a lead larger than it may be."""
        for _ in range(_TRIES):
            settled = settle(batch, keys, there, refused, update=self._update)
            if not self._update:
                return settled
            sizes = {number: Sizes(dict(zip(SIZED, lead, strict=True)), dict(zip(SIZED, row, strict=True)), together)
                     for number, lead, row, together in self._asked_of_met(_SIZES, settled)}
            too_large = oversized(settled, batch, sizes)
            if not too_large:
                return settled
            # A row that is refused may have changed whom the rows behind it mean.
            refused = refused | too_large
        raise _Raced

    def _orphans(self, batch):
        """{number: Fault} of the leads whose client or company does not exist, or is not for this company to link."""
        orphans = {}
        for column, table in LINKED.items():
            if any(each.lead.get(column) for each in batch.values()):
                unknown, parameters = f"NOT EXISTS (SELECT 1 FROM {table} WHERE id = i.{column})", []
                if column == "client_id" and self._company_id:
                    unknown, parameters = f"NOT {CLIENT_IS_OPEN.format('i.client_id')}", [str(self._company_id)]
                rows = self._database.execute_sql(
                    f"SELECT number FROM leads_incoming i WHERE {column} IS NOT NULL AND ({unknown}) ORDER BY number",
                    parameters).fetchall()
                fault = Fault(column, "foreign_key", unknown_row(column).sentence)
                orphans |= {number: fault for (number,) in rows}
        return orphans

    def _erased(self, batch, keys, there):
        """{number: Fault} of the rows that would bring somebody back who was erased: those that meet no lead."""
        known = {met.id for met in there} | {met.key for met in there}
        rows = self._database.execute_sql(_ERASED, [self._company_id and str(self._company_id)])
        fault = Fault("", "erased", PROBLEMS["erased"].sentence)
        return {number: fault for number, in rows
                if str(batch[number].lead["id"]) not in known and (keys[number] is None or keys[number] not in known)}

    def _demand_no_conflict(self, batch, settled):
        conflicts = [(number, fault) for number, fault in settled.refused.items() if fault.code.endswith("_taken")]
        conflicts += [(number, taken(by_id)) for number, _, by_id in settled.met[:1]]
        if conflicts:
            number, fault = min(conflicts)
            raise ConflictError(batch[number].row, fault)

    def _differing(self, settled):
        found = {number: set(parts) for number, parts in self._asked_of_met(_DIFFERENCES, settled)}
        if any(target.maker is None and number not in found for number, target, _ in settled.met):
            raise _Raced
        return found

    def _asked_of_met(self, statement, settled):
        """What the statement gives for the rows that meet a lead of the table."""
        pairs = [(number, target.id) for number, target, _ in settled.met if target.maker is None]
        return self._database.execute_sql(statement, [*map(list, zip(*pairs, strict=True))]).fetchall() if pairs else []

    def _change(self, settled, batch):
        execute = self._database.execute_sql
        rows = merged(settled, batch)
        if rows:
            execute("DELETE FROM leads_incoming WHERE number = ANY (%s)", (list(rows),))
            stage(self._database, rows)
        changed = [target for target in settled.targets if target.maker is None and target.changers]
        if not changed:
            return
        execute("SET LOCAL leads.keep_updated_at = 'on'")
        if parked := settled.parked():
            execute("UPDATE leads SET email = NULL WHERE id = ANY (%s::uuid[])", (parked,))
        # The company once more: the lead may have gone to another since it was looked for.
        company_id = self._company_id and str(self._company_id)
        made = execute(
            f"UPDATE leads there SET {CHANGES} FROM leads_incoming i "
            "JOIN unnest(%s, %s::uuid[]) AS pair(number, lead_id) USING (number) WHERE there.id = lead_id "
            "AND (%s::uuid IS NULL OR there.company_id = %s::uuid)",
            ([target.last for target in changed], [target.id for target in changed], company_id, company_id)).rowcount
        if made < len(changed):
            raise _Raced

    def _probe(self, batch, refused):
        """{number: Fault} of the rows that PostgreSQL refuses."""
        copy_met = COPY_MET.format(real=self._real, columns=COLUMNS, rows="number = step") + ";" \
            if self._dry_run else ""
        faults = probe(self._database, {number: each for number, each in batch.items() if number not in refused},
                       update=self._update, types=self._types, holding=self._holding, copy_met=copy_met)
        if self._on_conflict == "fail":
            for number, fault in faults.items():
                if fault.code.endswith("_taken"):
                    raise ConflictError(batch[number].row, fault)
        return faults
