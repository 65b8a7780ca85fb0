"""A migration that has shipped stays as it is, whatever changes around it: databases have run it."""

import ast
import hashlib

import pytest

from leads_service.database import migrator

# SHA-256 of each file. A new migration gets a line when it ships; a line never changes.
SHIPPED = {
    "0001_tables.py": "40c71c3ee20d4fc64aa161a2cce56a95285cf08e4916f3016a4d704188c92643",
    "0002_constraints.py": "fa200d33523eff599cefe43bdad3152b30d8cd6a61e82ae98da2de22fcb4f250",
    "0003_timestamp_trigger.py": "961ffd177d8a1d518a5f30fe56b676ae17c6e40bf38181bafe3626a519394e8b",
    "0004_indexes.py": "ace80c75d949b86d783ad4a821b63d6b065bc465ab211fe1e9ed14fce5d2e1c5",
    "0005_search.py": "6c7e37014239d618c141dd40a33408240684d1baf61755d511270257d516aae1",
    "0006_speed.py": "57119971fa00dbaf86c2da5fbe86ce6f4ac12e6dc746564574de4344313ab682",
    "0007_callers.py": "bdfc17f483c72c61a20aebf0a4de97d73faa7724616816d5255c331c7373ec7c",
    "0008_names.py": "b4ace5e976eced5f648882277d9ecad2ab43374175d2329cb9b6baf4ee290975",
    "0009_text.py": "84a6bf7b72e62fd531a2a2895c2bf913a28d00a4e24c6846f85098179a109d15",
    "0010_history.py": "97e7d6661067f1aafbed534b39f70eb4361c732edb776fa517ba8f71f477ca5c",
    "0011_answers.py": "39d883114fda7cf523a40468765bd35924527da82029f4f1644c3e74f25e7d1d",
    "0012_next_steps.py": "262ef378ffec58c6f677bd0125dd3601115fb2b449789faec1a1deb0b82610ac",
    "0013_merges.py": "e78cee8a3335fe98d81ca2c763be6508b5e46488470ca0a30972811f4e0b2441",
    "0014_erased.py": "72accc20d5fbe76d85239fa55ef3df8a787bf1e522295e16294c08eaeb9dfb2f",
    "0015_kept_figures.py": "81de8f44937b181ff6f7e9b4eafd27ee977d871ef5a8f871435c9f6dd41f6c62",
    "0016_holders.py": "d35f2c6416ddaebd6f818aa0311984b59662ce2f4cc334cd2733447cf09dc55b",
    "0017_kept_text.py": "1acdaab1baff101c0f3368420d6faf743298c1de5399d48bd55268cfe09fbf34",
    "0018_large_changes.py": "85e7df477b4e6dac91ec7d1e480670b29974c5a7b20ee5a2e0e54688586445ce",
    "0019_cheaper_history.py": "48212dc9a4d6128eaa36078d3b665107187ea265fecd272875261b2f0775d661",
    "0020_left_packed.py": "6bcbd1425e36e5580f674d5f2f6e535d67308fba93cef49805a959ad512bad2c",
    "0021_merges_of_erased.py": "9740027d0b70d933b340f6b39038af306556005d0aa6fab79f880a704072b5c0",
    "0022_large_leads.py": "4ac03df8851673a5636221193d9275056eb857532bc5529db8c00cb9fddcf833",
    "0023_chains_of_merges.py": "cc253570bd399c2fff2eb706b5c2e0896baba25c190a8301a3ecb5f6193a20cd",
}


@pytest.mark.parametrize("path", sorted(migrator.DIRECTORY.glob("0*.py")), ids=lambda path: path.name)
def test_a_shipped_migration_is_frozen(path):
    if path.name > max(SHIPPED):
        pytest.skip("It has not shipped.")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHIPPED.get(path.name)


@pytest.mark.parametrize("path", sorted(migrator.DIRECTORY.glob("0*.py")), ids=lambda path: path.name)
def test_a_migration_stands_by_itself(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported <= {"contextlib", "json", "unicodedata", "peewee", "playhouse.migrations", "migrations.ddl"}
