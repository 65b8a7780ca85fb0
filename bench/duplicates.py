"""How many known duplicates are found, how much of what is found is one, and whether what was merged stays so.

    .venv/bin/python bench/duplicates.py [--leads 100000] [--duplicates 5000] [--seed N] [--missed 10] [--merge]

Makes two lists of people as salons have them: the first all different (with colleagues who share a number, switchboards
and people of one name), the second of people of the first, written down anew: with a typing error, another spelling of
the number, a tag in the address, first and last name swapped, or several of these. Both are imported into a PostgreSQL
of its own, GET /leads/duplicates is walked, and the pairs are compared with those that were made. Prints precision and
recall of all pairs and of those with a score of 0.6 or more, by kind, and the pairs that were missed. `--merge` then
merges all known pairs over the API and imports the same two lists again: exit status 1 when that creates a lead, or
when precision is below 0.98 or recall below 0.9.
"""

import argparse
import collections
import csv
import itertools
import random
import sys
import time

from clients import postgres
from leads_service import config
from leads_service.app import create_app
from leads_service.contract.lead import LeadBody
from leads_service.database.pool import database
from leads_service.transfer.importing import import_leads
from leads_service.transfer.opening import open_source

SURE = 0.6  # the score from which on a pair counts
FIELDS = ("name", "email", "phone", "company", "city", "tags")
_FIRST = ("Marie Jean Pierre Michel André Philippe Nathalie Isabelle Alain Sylvie Catherine Nicolas Christophe "
          "Hélène Éric Sandrine Julien Céline Thomas Léa Camille Antoine Chloé Hugo Manon Lucas Emma Louis Jade "
          "Gabriel Louise Raphaël Alice Arthur Inès Adam Lina Paul Léna Victor Zoé Noé Rose Sacha Anna Jules Mila "
          "Maël Agathe Nathan Éva Théo Romane Simon Clémence Axel Lucie Robin Margaux Baptiste Élise Clément "
          "Juliette Maxime Pauline Yann Gaëlle Loïc Maëlle Ronan Solène Erwan Anaïs Mehdi Yasmine Karim Samira Ali "
          "Fatima Omar Leïla Walid Nadia Sven Ingrid Marco Giulia Diego Carmen João Inês Piotr Agnieszka Dmitri "
          "Olga Thanh Linh Wei Mei").split()
_SOUNDS = ("bar ber bon bou cam car cha che cor dal del den don dou du far fau fer fon gar gau ger gou gra gui ham "
           "her hu jac jar jou lac lam lau le len lou mar mau mer mo mon nau no pa pel per pi por que ra re ri ro sal "
           "sau ser si tan tau ti tou va vau ver vi").split()
_ENDS = "ain and ard aud aux ay eau el elle ère et ette eux ez ier in ion is it on ot oux"  .split()
_TRADES = "Garage Boulangerie Menuiserie Pharmacie Librairie Transports Optique Cabinet Atelier Hôtel".split()
_PROVIDERS = "gmail.com orange.fr free.fr hotmail.fr yahoo.fr laposte.net outlook.com".split()
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class People:
    """Makes people, the same ones for the same seed."""

    def __init__(self, seed):
        self.dice, self.weights = random.Random(seed), {}
        self.last = sorted({"".join(self.dice.choice(_SOUNDS) for _ in range(self.dice.choice((1, 1, 2))))
                            + self.dice.choice(_ENDS) for _ in range(12_000)})
        self.dice.shuffle(self.last)
        self.cities = [f"{self.dice.choice(self.last).title()}-{kind}" for kind in ("ville", "sur-Mer", "le-Bourg")
                       for _ in range(70)]

    def common(self, values):
        """One of the values, of which the first ones are the most common, as in France: of the first names the first
        one in a hundred has one and a half, of the last names a third, of the cities five."""
        if len(values) not in self.weights:
            flat = {len(_FIRST): 20, len(self.last): 60, len(self.cities): 5}[len(values)]
            self.weights[len(values)] = [*itertools.accumulate(1 / (rank + flat) for rank in range(len(values)))]
        return self.dice.choices(values, cum_weights=self.weights[len(values)])[0]

    def number(self):
        """A number as it is typed."""
        return "0" + self.dice.choice("1234567") + "".join(self.dice.choice("0123456789") for _ in range(8))

    def firm(self):
        """A company: its name, city, domain, and switchboard, if any."""
        name = f"{self.dice.choice(_TRADES)} {self.dice.choice(self.last).title()}"
        domain = f"{plain(name).replace(' ', '-')}.fr"
        return name, self.common(self.cities), domain, self.number() if self.dice.random() < 0.3 else None

    def person(self, firm):
        """Somebody of the company, or (None) of none."""
        first, last = self.common(_FIRST), self.common(self.last).title()
        company, city, domain, board = firm or (None, self.common(self.cities), self.dice.choice(_PROVIDERS), None)
        if firm and self.dice.random() < 0.2:
            domain = self.dice.choice(_PROVIDERS)
        number = board if board and self.dice.random() < 0.4 else self.number()
        local = f"{plain(first)}.{plain(last)}" + (str(self.dice.randrange(1000)) if domain in _PROVIDERS else "")
        return {"first": first, "last": last, "company": company, "city": city,
                "phone": number if self.dice.random() < 0.8 else None,
                "email": f"{local}@{domain}" if self.dice.random() < 0.8 else None}

    def misspelt(self, text):
        """The text with one typing error."""
        at = self.dice.randrange(len(text))
        letter = self.dice.choice(_LETTERS)
        return self.dice.choice((text[:at] + letter + text[at + 1:], text[:at] + text[at + 1:],
                                 text[:at] + letter + text[at:], text[:at] + text[at + 1:at + 2] + text[at:at + 1]
                                 + text[at + 2:])) or letter

    def spelt(self, number):
        """Another spelling of the number."""
        pairs = [number[at:at + 2] for at in range(0, 10, 2)]
        return self.dice.choice((" ".join(pairs), ".".join(pairs), f"+33 {number[1]} {' '.join(pairs[1:])}",
                                 f"0033{number[1:]}", f"+33(0){number[1:]}", number[1:]))

    def again(self, person):
        """The person written down anew, and what is different: its kind; None where too little is known of them."""
        kinds = ["typing"] * bool(person["company"] or person["city"]) + ["phone"] * bool(person["phone"]) + [
            "tag"] * bool(person["email"]) + ["swapped"] * bool(person["company"] or person["city"])
        kind = self.dice.choice(kinds)
        first, last = person["first"], person["last"]
        known = {"company": person["company"], "city": person["city"], "phone": None, "email": None}
        if self.dice.random() < 0.3:
            known["company"] = known["company"] and known["company"].upper()
        if kind in ("typing", "swapped") and self.dice.random() < 0.3 and known["company"]:
            known["city"] = None
        if kind == "typing" or (kind != "swapped" and self.dice.random() < 0.4):
            if self.dice.random() < 0.5:
                first = self.misspelt(first)
            else:
                last = self.misspelt(last)
        if kind == "phone":
            known["phone"] = self.spelt(person["phone"])
            known |= {"company": None} if self.dice.random() < 0.5 else {}
            if self.dice.random() < 0.2:
                first = f"{first[0]}."
        if kind == "tag":
            local, _, domain = person["email"].partition("@")
            if domain == "gmail.com" and self.dice.random() < 0.5:
                local = local.replace(".", "") if "." in local else local
                domain = "googlemail.com"
            else:
                local += "+" + self.dice.choice(("salon", "web", "news"))
            known["email"] = f"{local}@{domain}"
            known["phone"] = self.number() if self.dice.random() < 0.3 else None
        name = f"{last} {first}" if kind == "swapped" else f"{first} {last}"
        name = self.dice.choice((name, name.upper(), unaccented(name)))
        return kind, known | {"name": name}


def unaccented(text):
    """The text as a keyboard without accents writes it."""
    return text.translate(str.maketrans("éèêëàâîïôûùçÉÈãñ", "eeeeaaiiouucEEan"))


def plain(text):
    """The text as an address holds it."""
    return unaccented(text.lower()).replace("'", "")


def written(path, rows):
    """Write the rows as a salon's list."""
    with open(path, "w", newline="") as file:
        list_ = csv.DictWriter(file, FIELDS, extrasaction="ignore")
        list_.writeheader()
        list_.writerows(rows)


def lists(people, leads, duplicates):
    """The rows of both lists; those that are one person have the tag that names their pair."""
    first, firms = [], [people.firm() for _ in range(max(leads // 6, 1))]
    known = set()
    while len(first) < leads - duplicates:
        person = people.person(people.dice.choice(firms) if people.dice.random() < 0.7 else None)
        person["name"] = f"{person['first']} {person['last']}"
        if person["email"] in known:
            person["email"] = None
        known.add(person["email"])
        first.append(person | {"tags": None})
    second, kinds = [], {}
    for number, person in enumerate(people.dice.sample(first, duplicates)):
        kind, again = people.again(person)
        if again["email"] in known:
            again["email"] = None
        known.add(again["email"])
        person["tags"] = again["tags"] = f"pair {number}"
        kinds[f"pair {number}"] = kind
        second.append(again)
    people.dice.shuffle(second)
    return first, second, kinds


def bring(path):
    """Import the list; gives what became of its rows."""
    rejects = []
    with open_source(str(path)) as source:
        report = import_leads(database, source, LeadBody(), None, reject=lambda row, fault: rejects.append(fault.code))
    return report, collections.Counter(rejects)


def walk(client):
    """{(lesser id, greater id): score} of all pairs, the leads that they are of, and the pages' times in seconds."""
    pairs, leads, times, cursor = {}, {}, [], None
    while True:
        begun = time.monotonic()
        page = client.get("/leads/duplicates", query_string={"cursor": cursor} if cursor else {}).json
        times.append(time.monotonic() - begun)
        for group in page["data"]:
            for each in (group, *group["duplicates"]):
                leads[each["lead"]["id"]] = each["lead"]
            for each in group["duplicates"]:
                pairs[tuple(sorted((group["lead"]["id"], each["lead"]["id"])))] = (each["score"], each["reasons"])
        cursor = page["next_cursor"]
        if not cursor:
            return pairs, leads, times


def told(lead):
    """A lead on a line."""
    return " | ".join(str(lead[field]) for field in ("name", "email", "phone", "company", "city") if lead[field])


def main():
    """Measure, and say whether it is enough."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--leads", type=int, default=100_000)
    parser.add_argument("--duplicates", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--missed", type=int, default=10)
    parser.add_argument("--merge", action="store_true")
    asked = parser.parse_args()
    with postgres() as (server, folder):
        settings = config.load({"DATABASE_URL": server.url, "LEADS_STATEMENT_TIMEOUT": "60"})
        client = create_app(settings).test_client()
        first, second, kinds = lists(People(asked.seed), asked.leads, asked.duplicates)
        paths = [folder / name for name in ("first.csv", "second.csv")]
        for path, rows in zip(paths, (first, second), strict=True):
            written(path, rows)
            begun = time.monotonic()
            report, rejects = bring(path)
            print(f"{path.name}: {report.created} created, {report.skipped} skipped, {report.rejected} rejected "
                  f"{dict(rejects)} in {time.monotonic() - begun:.0f} s", flush=True)
        with database.connection_context():
            database.execute_sql("VACUUM ANALYZE leads")
            there = {}
            for tag, lead_id in database.execute_sql("SELECT tags[1], id::text FROM leads WHERE tags <> '{}'"):
                there.setdefault(tag, []).append(lead_id)
        truth = {tuple(sorted(ids)): tag for tag, ids in there.items() if len(ids) == 2}
        pairs, leads, times = walk(client)
        times.sort()
        print(f"{len(times)} pages of 25 leads: median {times[len(times) // 2] * 1000:.0f} ms, "
              f"slowest {times[-1] * 1000:.0f} ms")
        enough = True
        for least in (0, SURE):
            found = {pair for pair, (score, _) in pairs.items() if score >= least}
            right = found & truth.keys()
            precision, recall = len(right) / (len(found) or 1), len(right) / len(truth)
            enough = precision >= 0.98 and recall >= 0.9
            print(f"score >= {least}: {len(found)} pairs, {len(right)} of {len(truth)} known: precision "
                  f"{precision:.4f}, recall {recall:.4f}")
        by_kind = collections.defaultdict(collections.Counter)
        for pair, tag in truth.items():
            by_kind[kinds[tag]]["found" if pair in found else "missed"] += 1
        for kind, counts in sorted(by_kind.items()):
            print(f"  {kind}: {counts['found']} found, {counts['missed']} missed")
        wrong = collections.Counter("+".join(pairs[pair][1]) for pair in found - truth.keys())
        print(f"  wrong pairs by reason: {dict(wrong)}")
        for title, some in (("missed", sorted(truth.keys() - found)), ("wrong", sorted(found - truth.keys()))):
            for pair in some[:asked.missed]:
                rows = [leads.get(each) or client.get(f"/leads/{each}").json["data"] for each in pair]
                print(f"  {title}: {told(rows[0])}  <>  {told(rows[1])}")
        if asked.merge:
            begun = time.monotonic()
            for one, other in truth:
                answer = client.post(f"/leads/{one}/merge", json={"others": [other]})
                assert answer.status_code == 200, answer.json
            print(f"{len(truth)} merged in {time.monotonic() - begun:.0f} s")
            for path in paths:
                report, _ = bring(path)
                print(f"{path.name} again: {report.created} created, {report.skipped} skipped, "
                      f"{report.rejected} rejected")
                enough = enough and not report.created
        database.close_all()
    sys.exit(not enough)


if __name__ == "__main__":
    main()
