"""Fills a database with made-up leads, inside PostgreSQL, the same ones every time."""

_FIRST = ("Amina Bastien Capucine Damien Élise Fabrice Gaëlle Hervé Irène Jules Kévin Laurène Maël Noé Océane "
          "Perrine Quentin Rémi Séverine Tristan Ursule Violette William Xavier Yasmine Zélie").split()
_LAST = ("Allard Besnard Carlier Delmas Étienne Fabre Grondin Hamon Imbert Jacquet Klein Lacombe Maréchal Nguyen "
         "Ollivier Poirier Quéré Renault Sauvage Tessier Urbain Vasseur Weber Yvon Zimmermann Beaumont Charpentier "
         "Delorme Ferrand Guérin Hébert Joubert Langlois Meunier Noël Peltier Rivière Sœur Thibault Vallée").split()
_TRADE = ("Menuiserie Garage Boulangerie Fleuriste Électricité Traiteur Librairie Optique Pharmacie Cabinet").split()
_FORM = ("SARL", "SAS", "EURL", "& Fils", "Services", "Groupe")
_CITY = ("Paris", "Lyon", "Marseille", "Toulouse", "Nice", "Nantes", "Lille", "Rennes", "Reims", "Toulon", "Grenoble",
         "Dijon", "Angers", "Nîmes", "Brest", "Tours", "Limoges", "Amiens", "Metz", "Pau")
_OWNER = ("Alice", "Bruno", "Chloé", "David", "Équipe Sud", "Farid", "Gwen", "Hugo")
_SEGMENT = ("Particulier", "Pro local", "Entreprise", "Grand compte", "Collectivité")
# Repeated as often as they are common.
_SOURCE = ["web"] * 50 + ["salon"] * 20 + ["téléphone"] * 15 + ["parrainage"] * 10 + ["import"] * 4 + ["radio"]
_STAGE = ["new"] * 40 + ["contacted"] * 25 + ["proposal"] * 14 + ["negotiation"] * 8 + ["won"] * 6 + ["lost"] * 7
_STATUS = ["active"] * 78 + ["archived"] * 14 + ["converti"] * 8
_TAGS = ("vip", "relance", "devis", "flotte", "récurrent", "salon-2026", "à rappeler", "fidèle")

OWNER, SOURCE, CITY, SEGMENT = _OWNER[0], "web", _CITY[0], _SEGMENT[0]


def _array(values):
    return "ARRAY[" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + "]"


def _pick(values, salt):
    # A hash instead of random(): the same lead whatever ran before.
    return f"({_array(values)})[1 + mod(abs(hashtextextended('{salt}' || n, 0)), {len(values)})]"


def _chance(salt, of):
    return f"mod(abs(hashtextextended('{salt}' || n, 0)), {of})"


def statement(first: int, last: int, valued: bool = False) -> str:
    """The SQL that inserts the leads number `first` to `last`; their times lie within the three years before 2026.

    All of them have a value and a next step if `valued`, as after a move of a table that had both, else none has.
    """
    known = ("'estimated_value', (n % 90000) / 4.0, 'next_step_date', "
             "to_char(date '2026-06-01' + (n % 400), 'YYYY-MM-DD'), ") if valued else ""
    columns = {
        "id": "md5('lead' || n)::uuid",
        "name": "first || ' ' || last",
        "email": f"CASE WHEN {_chance('mail', 10)} > 0 THEN "
                 "translate(lower(first || '.' || last), 'éèêëàâîïôûùç ', 'eeeeaaiiouuc-') || '.' || n "
                 "|| (ARRAY['@exemple.fr', '@courriel.example', '@societe-' || n % 97 || '.fr'])[1 + n % 3] END",
        "phone": f"CASE WHEN {_chance('phone', 8)} > 0 THEN "
                 f"'+33' || 6 + mod(n, 2) || lpad({_chance('digits', 10**8)}::text, 8, '0') END",
        "source": _pick(_SOURCE, "source"), "stage": _pick(_STAGE, "stage"), "status": _pick(_STATUS, "status"),
        "interest_level": _chance("level", 101),
        "notes": f"jsonb_build_object({known}'text', 'Vu au salon, à rappeler le ' || mod(n, 28) + 1, "
                 "'budget', n % 5000)",
        "tags": f"ARRAY(SELECT DISTINCT unnest(ARRAY[{_pick(_TAGS, 'tag')}, {_pick(_TAGS, 'tags')}]))",
        "address": "mod(n, 200) + 1 || ' rue de la République'",
        "city": _pick(_CITY, "city"),
        "company": f"CASE WHEN {_chance('firm', 5)} > 0 THEN "
                   f"{_pick(_TRADE, 'trade')} || ' ' || {_pick(_LAST, 'firm')} || ' ' || {_pick(_FORM, 'form')} END",
        "contact": "first || ' ' || last",
        "owner": _pick(_OWNER, "owner"), "segment": _pick(_SEGMENT, "segment"),
        "activities": "CASE WHEN mod(n, 3) > 0 THEN '[]' ELSE jsonb_build_array(jsonb_build_object("
                      "'type', 'call', 'content', 'Premier appel', 'createdAt', created)) END",
        "created_at": "created",
        "updated_at": f"created + make_interval(secs => {_chance('changed', 90 * 86400)})",
    }
    return f"""
        INSERT INTO leads ({', '.join(columns)})
        SELECT {', '.join(columns.values())}
        FROM (SELECT n, {_pick(_FIRST, 'first')} AS first, {_pick(_LAST, 'last')} AS last, '2023-01-01'::timestamptz
                         + make_interval(secs => {_chance('time', 3 * 365 * 86400)} + n / 1e7) AS created
              FROM generate_series({first}, {last}) AS n) AS made"""


# The newest leads, and nothing that the measurements ask for.
FRESH_IMPORT = """
    INSERT INTO leads (name, email, phone, source, stage, status, interest_level, tags, city, company, owner, segment,
                       created_at)
    SELECT 'Iyo ' || n, 'iyo' || n || '@oo.oo', '+4455' || lpad(n::text, 6, '5'), 'fichier', 'lost', 'archived', 20,
           '{masse}', 'Ooo', 'Iooi', 'iii', 'Iii', '2026-06-01'::timestamptz + make_interval(secs => n)
    FROM generate_series(1, %s) AS n"""
