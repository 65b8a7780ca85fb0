"""The tables as Peewee models. The migrations own the schema; these only speak to it."""

import uuid

from peewee import CharField, ForeignKeyField, IntegerField, Model, TextField, UUIDField
from playhouse.postgres_ext import ArrayField, BinaryJSONField, DateTimeTZField

from leads_service.database.pool import database


class Table(Model):
    """What every table has: an id made here, and two times that the database keeps."""

    id = UUIDField(primary_key=True, default=uuid.uuid4)
    created_at = DateTimeTZField()
    updated_at = DateTimeTZField()

    class Meta:
        database = database
        legacy_table_names = False


class Company(Table):
    """A company that leads and clients may belong to; the service only refers to it."""

    class Meta:
        table_name = "companies"


class Client(Table):
    """A customer, made out of a lead by converting it."""

    type = CharField(50)
    name = CharField(255)
    company_name = CharField(255, null=True)
    email = CharField(255, null=True)
    phone = CharField(50, null=True)
    address = TextField(null=True)
    city = CharField(100, null=True)
    tags = ArrayField(TextField, index=False)
    contacts = BinaryJSONField(index=False)

    class Meta:
        table_name = "clients"


class Lead(Table):
    """A prospect."""

    name = CharField(255)
    email = CharField(255, null=True)
    phone = CharField(50, null=True)
    source = CharField(100, null=True)
    stage = CharField(50, null=True)
    status = CharField(50, null=True)
    interest_level = IntegerField()
    notes = BinaryJSONField(index=False)
    tags = ArrayField(TextField, index=False)
    address = TextField(null=True)
    city = CharField(100, null=True)
    company = CharField(255, null=True)
    contact = CharField(255, null=True)
    owner = CharField(100, null=True)
    segment = CharField(100, null=True)
    activities = BinaryJSONField(index=False)
    client = ForeignKeyField(Client, column_name="client_id", null=True, on_delete="SET NULL")
    # The lead's own `company` is a name; the row in companies is its affiliation.
    affiliation = ForeignKeyField(Company, column_name="company_id", null=True, on_delete="SET NULL")

    class Meta:
        table_name = "leads"
