"""The e-mail rule: how an address is written, and which text is one."""

import re

import email_validator

from leads_service.contract.characters import composed, without_invisible

# What most addresses look like, all of it valid to email-validator too, which takes a hundred times as long. A part of
# at most 64 characters is never too long.
_PLAIN = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.)+[A-Za-z]{2,24}\Z")
_PLAIN_LENGTH = 64
# Addresses at printer.local or intranet.test are what people have, whether the internet knows them or not.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def normal_email(typed: str) -> str:
    """`typed` without invisible characters and outer blanks, composed; its case is kept."""
    return composed(without_invisible(typed)).strip()


def is_email(address: str) -> bool:
    """Whether a normal text is one address by RFC 5321 and 6531, at a domain with a dot or a bracketed IP address."""
    if "@" not in address:
        return False
    if len(address) <= _PLAIN_LENGTH and _PLAIN.match(address):
        return True
    try:
        email_validator.validate_email(
            address, check_deliverability=False, allow_quoted_local=True, allow_domain_literal=True)
    except email_validator.EmailNotValidError:
        return False
    return True
