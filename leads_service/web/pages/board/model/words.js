// What the page says, in French and English, and how it writes days, moments and amounts.
const CHOICE = "leads.language";
let chosen = localStorage.getItem(CHOICE) || (navigator.language.startsWith("fr") ? "fr" : "en");

export const language = () => chosen;

export function speak(other) {
  chosen = other;
  localStorage.setItem(CHOICE, other);
  document.documentElement.lang = other;
}

const s = (n) => (n > 1 ? "s" : "");
const WORDS = {
  title: ["Leads", "Leads"],
  board: ["Tableau", "Board"],
  table: ["Liste", "List"],
  figures: ["Chiffres", "Figures"],
  import: ["Importer", "Import"],
  skip: ["Aller au contenu", "Skip to content"],
  newLead: ["Nouveau lead", "New lead"],
  firstLead: ["Créer un premier lead", "Create a first lead"],
  search: ["Rechercher", "Search"],
  searchHint: ["Nom, e-mail, téléphone, société", "Name, e-mail, phone, company"],
  filters: [(n) => (n ? `Filtres (${n})` : "Filtres"), (n) => (n ? `Filters (${n})` : "Filters")],
  noFilters: ["Enlever les filtres", "Remove the filters"],
  anything: ["Tous", "Any"],
  views: ["Vues", "Views"],
  saveView: ["Enregistrer cette vue", "Save this view"],
  viewName: ["Nom de la vue", "Name of the view"],
  forgetView: [(name) => `Supprimer la vue ${name}`, (name) => `Delete the view ${name}`],
  noViews: ["Aucune vue enregistrée dans ce navigateur.", "No view saved in this browser."],
  groupBy: ["Colonnes par", "Columns by"],
  sortBy: ["Trier par", "Sort by"],
  language: ["English", "Français"],
  signOut: ["Se déconnecter", "Sign out"],
  create: ["Créer", "Create"],
  cancel: ["Annuler", "Undo"],
  close: ["Fermer", "Close"],
  dismiss: ["Abandonner", "Cancel"],
  more: ["Afficher la suite", "Show more"],
  again: ["Réessayer", "Try again"],
  loading: ["Chargement…", "Loading…"],
  slow: ["Le service met plus de temps que d'habitude…", "The service takes longer than usual…"],
  offline: ["Connexion perdue. Ce que vous voyez peut avoir changé ; nouvel essai toutes les deux secondes.",
    "Connection lost. What you see may have changed; trying again every two seconds."],
  unreached: ["Le service ne répond pas. Rien n'a été changé ; vérifiez la connexion et réessayez.",
    "The service does not answer. Nothing was changed; check the connection and try again."],
  back: ["La connexion est rétablie.", "The connection is back."],
  emptyColumn: ["Aucun lead", "No lead"],
  nothingFound: ["Aucun lead ne correspond.", "No lead matches."],
  welcome: ["Aucun lead pour l'instant", "No lead yet"],
  welcomeText: ["Importez la liste que vous avez (Excel, CSV, export d'un autre outil) ou créez un premier lead.",
    "Import the list that you have (Excel, CSV, another tool's export) or create a first lead."],
  importList: ["Importer une liste", "Import a list"],
  overdueCount: [(n) => `${number(n)} en retard`, (n) => `${number(n)} overdue`],
  fold: [(name) => `Replier ${name}`, (name) => `Fold ${name}`],
  unfold: [(name) => `Déplier ${name}`, (name) => `Unfold ${name}`],
  column: ["Colonne", "Column"],
  moveTo: ["Déplacer vers…", "Move to…"],
  moveLead: [(name) => `Déplacer ${name} vers…`, (name) => `Move ${name} to…`],
  openLead: [(name) => `Ouvrir ${name}`, (name) => `Open ${name}`],
  moved: [(name, to) => `${name} est dans ${to}.`, (name, to) => `${name} is in ${to}.`],
  saved: [(field) => `${field} : enregistré.`, (field) => `${field}: saved.`],
  created: [(name) => `${name} est créé.`, (name) => `${name} is created.`],
  deleted: [(name) => `${name} est supprimé.`, (name) => `${name} is deleted.`],
  converted: [(name) => `${name} est converti en client.`, (name) => `${name} is converted to a client.`],
  restored: [(name) => `${name} est rétabli.`, (name) => `${name} is restored.`],
  undone: ["C'est annulé.", "It is undone."],
  refused: [(why) => `Refusé : ${why}`, (why) => `Refused: ${why}`],
  keptTheirs: ["L'autre valeur est gardée.", "The other value is kept."],
  conflictTitle: ["Modifié en même temps", "Changed at the same time"],
  conflict: [(name) => `Quelqu'un d'autre vient de modifier ${name}. Que faut-il garder ?`,
    (name) => `Somebody else has just changed ${name}. What is to be kept?`],
  yours: ["Votre valeur", "Your value"],
  theirs: ["L'autre valeur", "The other value"],
  keepYours: ["Garder la vôtre", "Keep yours"],
  keepTheirs: ["Garder l'autre", "Keep the other"],
  lostTitle: [(name) => `${name} est perdu ?`, (name) => `Is ${name} lost?`],
  call: [(number) => `Appeler ${number}`, (number) => `Call ${number}`],
  write: ["Écrire", "Write"],
  lostReason: ["Raison (facultative)", "Reason (optional)"],
  lost: ["Perdu", "Lost"],
  skipReason: ["Sans raison", "Without a reason"],
  wonTitle: [(name) => `${name} est gagné !`, (name) => `${name} is won!`],
  wonText: ["Le convertir crée sa fiche client (ou la retrouve par son e-mail).",
    "Converting makes the client's record (or finds it by its e-mail)."],
  convert: ["Convertir en client", "Convert to a client"],
  onlyWon: ["Seulement gagné", "Only won"],
  details: ["Fiche", "Details"],
  activities: ["Activités", "Activities"],
  history: ["Historique", "History"],
  previous: ["Précédent", "Previous"],
  next: ["Suivant", "Next"],
  remove: ["Supprimer", "Delete"],
  removeTitle: [(name) => `Supprimer ${name} ?`, (name) => `Delete ${name}?`],
  leadGone: ["Ce lead n'existe pas ou plus.", "This lead does not exist, or no longer."],
  addActivity: ["Noter une activité", "Log an activity"],
  activityKind: ["Nature", "Kind"],
  activityText: ["Que s'est-il passé ?", "What happened?"],
  noActivity: ["Aucune activité notée.", "No activity logged."],
  logged: ["L'activité est notée.", "The activity is logged."],
  noHistory: ["L'historique ne connaît pas de modification de ce lead.", "The history knows no change of this lead."],
  goBack: ["Revenir à", "Go back to"],
  goBackTo: [(when) => `Revenir à l'état du ${when}`, (when) => `Go back to the state of ${when}`],
  changedMeanwhile: [(value) => `Modifié entre-temps par quelqu'un d'autre : ${value}`,
    (value) => `Changed meanwhile by somebody else: ${value}`],
  nobody: ["vide", "empty"],
  by: ["par", "by"],
  daysInStage: [(n) => `Depuis ${n} jour${s(n)} à cette étape`, (n) => `${n} day${s(n)} in this stage`],
  days: [(n) => `${n} j`, (n) => `${n} d`],
  overdue: ["en retard", "overdue"],
  today: ["aujourd'hui", "today"],
  required: ["Le nom est obligatoire.", "The name is required."],
  seeOther: ["Voir le lead qui a cette adresse", "See the lead that has this address"],
  mayNotImport: ["Votre clé ne permet pas d'importer.", "Your key does not permit an import."],
  dropFile: ["Déposez un fichier ici, ou choisissez-le", "Drop a file here, or choose one"],
  fileKinds: ["Excel (.xlsx), CSV, export d'un autre outil ; 10 Mo au plus. Rien n'est écrit avant votre accord.",
    "Excel (.xlsx), CSV, another tool's export; 10 MB at most. Nothing is written before you agree."],
  reading: [(name) => `Lecture de ${name}…`, (name) => `Reading ${name}…`],
  importing: [(name) => `Import de ${name}…`, (name) => `Importing ${name}…`],
  trialTitle: [(name) => `Essai de ${name} : rien n'est encore écrit`, (name) => `Trial of ${name}: nothing is written yet`],
  doneTitle: [(name) => `${name} est importé`, (name) => `${name} is imported`],
  wouldCreate: ["à créer", "to create"],
  wouldUpdate: ["à mettre à jour", "to update"],
  wouldSkip: ["déjà là", "already there"],
  wouldReject: ["refusés", "rejected"],
  didCreate: ["créés", "created"],
  didUpdate: ["mis à jour", "updated"],
  doImport: [(n) => `Importer ${number(n)} lead${s(n)}`, (n) => `Import ${number(n)} lead${s(n)}`],
  otherFile: ["Choisir un autre fichier", "Choose another file"],
  knownLeads: ["Leads déjà là", "Leads that are there already"],
  skipKnown: ["les laisser", "leave them"],
  updateKnown: ["les mettre à jour", "update them"],
  understood: ["Ce qui a été compris", "What was understood"],
  readAs: [(format, encoding, delimiter) => `Lu comme ${format}${encoding ? `, encodage ${encoding}` : ""}${
    delimiter ? `, séparateur « ${delimiter} »` : ""}.`,
  (format, encoding, delimiter) => `Read as ${format}${encoding ? `, encoding ${encoding}` : ""}${
    delimiter ? `, delimiter “${delimiter}”` : ""}.`],
  heading: ["Colonne du fichier", "Column of the file"],
  goesTo: ["Va dans", "Goes to"],
  notesOf: ["notes (aucun champ de ce nom)", "notes (no field of that name)"],
  unknownWords: ["Mots inconnus : dites ce qu'ils veulent dire", "Unknown words: say what they mean"],
  wordMeans: [(word, n) => `« ${word} » (${number(n)})`, (word, n) => `“${word}” (${number(n)})`],
  noMeaning: ["refuser ces lignes", "reject these rows"],
  rejects: ["Lignes refusées", "Rejected rows"],
  rejectsShown: [(n, all) => `Les ${number(n)} premières sur ${number(all)}.`, (n, all) => `The first ${number(n)} of ${number(all)}.`],
  line: ["Ligne", "Line"],
  reason: ["Raison", "Reason"],
  download: ["Télécharger les lignes refusées", "Download the rejected rows"],
  goBoard: ["Voir le tableau", "See the board"],
  pipeline: ["Pipeline", "Pipeline"],
  pipelineText: ["Où en sont les leads. « Atteint » : à cette étape ou au-delà ; les perdus n'y sont pas.",
    "Where the leads are. “Reached”: in this stage or beyond it; without the lost ones."],
  reached: ["Atteint", "Reached"],
  fromBefore: ["Passage", "Passed on"],
  count: ["Leads", "Leads"],
  value: ["Valeur", "Value"],
  share: ["Part", "Share"],
  convertedCount: ["Convertis", "Converted"],
  overdueTitle: ["En retard", "Overdue"],
  inStage: ["Jours dans l'étape (médiane, 90 %)", "Days in the stage (median, 90%)"],
  toConvert: ["Jours jusqu'à la conversion (médiane, 90 %)", "Days to conversion (median, 90%)"],
  leftOut: [(n) => `${number(n)} hors historique`, (n) => `${number(n)} without a history`],
  sampled: [(n) => `Jours d'un échantillon de ${number(n)} leads.`, (n) => `Days of a sample of ${number(n)} leads.`],
  byMonth: ["Créés par mois, et gagnés", "Created by month, and won"],
  byMonthText: ["Par mois de création ; la partie pleine est gagnée.", "By month of creation; the solid part is won."],
  bySource: ["Par source", "By source"],
  byOwner: ["Par responsable", "By owner"],
  others: [(n) => `Les autres : ${number(n)}`, (n) => `The others: ${number(n)}`],
  whole: ["Ensemble", "All of them"],
  signInTitle: ["Qui est là ?", "Who is there?"],
  signInText: ["Collez la clé ou le jeton que l'on vous a donné. Il reste dans cet onglet, jusqu'à sa fermeture.",
    "Paste the key or token that you were given. It stays in this tab until that is closed."],
  credential: ["Clé ou jeton", "Key or token"],
  signIn: ["Entrer", "Enter"],
  notAccepted: ["Cette clé n'est pas acceptée.", "This key is not accepted."],
  duplicates: [(n) => `${n} doublon${s(n)}`, (n) => `${n} duplicate${s(n)}`],
  merge: ["Fusionner", "Merge"],
  notTheSame: ["Ce n'est pas la même personne", "Not the same person"],
  mergeTitle: [(one, other) => `Fusionner ${one} et ${other}`, (one, other) => `Merge ${one} and ${other}`],
  mergeText: ["Choisissez ce qui reste. Étiquettes, notes et activités sont réunies ; rien n'est perdu, et la fusion s'annule.",
    "Choose what stays. Tags, notes and activities are joined; nothing is lost, and the merge can be undone."],
  thisLead: ["Ce lead", "This lead"],
  otherLead: ["L'autre", "The other"],
  merged: [(name) => `${name} : un seul lead maintenant.`, (name) => `${name}: one lead now.`],
  person: ["Données personnelles", "Personal data"],
  dossier: ["Télécharger le dossier", "Download the dossier"],
  erase: ["Effacer cette personne", "Erase this person"],
  eraseTitle: [(name) => `Effacer ${name} ?`, (name) => `Erase ${name}?`],
  eraseText: ["Tout ce que le service sait de cette personne disparaît, historique compris. Cela ne s'annule pas.",
    "All that the service knows of this person goes, the history too. This cannot be undone."],
  eraseReason: ["Raison (sans nom)", "Reason (without a name)"],
  eraseConfirm: [(text) => `Pour confirmer, écrivez ${text}`, (text) => `To confirm, type ${text}`],
  erasePlaces: ["Voici ce qui sera effacé, en lignes par table :", "This will be erased, in rows by table:"],
  eraseTry: ["Voir ce qui sera effacé", "See what will be erased"],
  eraseForGood: ["Effacer définitivement", "Erase for good"],
  erased: ["La personne est effacée.", "The person is erased."],
  otherNotes: ["Autres informations", "Other information"],
  failed: ["Ceci n'a pas pu être chargé.", "This could not be loaded."],
  total: [(n) => `${number(n)} en tout`, (n) => `${number(n)} in all`],
  without: ["Sans valeur pour", "Without a value for"],
};

// The sentence of that name, with what it is about.
export function say(name, ...about) {
  const said = WORDS[name][chosen === "fr" ? 0 : 1];
  return typeof said === "function" ? said(...about) : said;
}

const LABELS = {
  new: ["Nouveau", "New"], contacted: ["Contacté", "Contacted"], proposal: ["Devis envoyé", "Proposal"],
  negotiation: ["Négociation", "Negotiation"], won: ["Gagné", "Won"], lost: ["Perdu", "Lost"],
  active: ["Actif", "Active"], archived: ["Archivé", "Archived"], converti: ["Converti", "Converted"],
  name: ["Nom", "Name"], company: ["Société", "Company"], contact: ["Contact", "Contact"], email: ["E-mail", "E-mail"],
  phone: ["Téléphone", "Phone"], address: ["Adresse", "Address"], city: ["Ville", "City"], source: ["Source", "Source"],
  stage: ["Étape", "Stage"], status: ["Statut", "Status"], owner: ["Responsable", "Owner"],
  segment: ["Segment", "Segment"], interest_level: ["Intérêt (0 à 100)", "Interest (0 to 100)"], tags: ["Étiquettes", "Tags"],
  tag: ["Étiquette", "Tag"], created_at: ["Créé le", "Created"], updated_at: ["Modifié le", "Changed"],
  activities: ["Activités", "Activities"], notes: ["Notes", "Notes"], client_id: ["Client", "Client"],
  company_id: ["Société de l'ERP", "ERP company"], next_step: ["Prochaine étape", "Next step"],
  "notes.next_step_date": ["Prochaine étape le", "Next step on"], "notes.next_step_note": ["Prochaine étape", "Next step"],
  "notes.estimated_value": ["Valeur estimée (€)", "Estimated value (€)"], "notes.last_contact": ["Dernier contact", "Last contact"],
  "notes.legacy_status": ["Statut d'origine", "Original status"], "notes.legacy_stage": ["Étape d'origine", "Original stage"],
  "notes.legacy_id": ["Identifiant d'origine", "Original id"], "notes.legacy_email": ["E-mail d'origine", "Original e-mail"],
  "notes.merged": ["Fusions", "Merges"], "notes.text": ["Remarques", "Remarks"], "notes.lost_reason": ["Perdu parce que", "Lost because"],
  next_step_from: ["Prochaine étape du", "Next step from"], next_step_to: ["Prochaine étape au", "Next step to"],
  created_from: ["Créé du", "Created from"], created_to: ["Créé au", "Created to"],
  interest_level_min: ["Intérêt min.", "Interest from"], interest_level_max: ["Intérêt max.", "Interest to"],
  overdue: ["En retard", "Overdue"], today: ["Aujourd'hui", "Today"], week: ["Sept jours qui suivent", "Next seven days"],
  later: ["Plus tard", "Later"], none: ["Sans date", "Without a date"], q: ["Recherche", "Search"],
  without: ["Sans valeur pour", "Without a value for"],
  "-created_at": ["Plus récents", "Newest"], "-interest_level": ["Intérêt", "Interest"], "-updated_at": ["Modifiés", "Changed"],
  call: ["Appel", "Call"], meeting: ["Rendez-vous", "Meeting"], note: ["Note", "Note"], id: ["Identifiant", "Id"],
  email_alias: ["même adresse, autrement écrite", "the same address, spelt otherwise"],
  name_company: ["même nom, même société", "the same name and company"], name_similar: ["nom semblable", "a like name"],
  create: ["Création", "Created"], update: ["Modification", "Changed"], delete: ["Suppression", "Deleted"],
  restore: ["Retour", "Restored"], first_name: ["Prénom (dans le nom)", "First name (in the name)"],
  last_name: ["Nom de famille (dans le nom)", "Last name (in the name)"], body: ["Fichier", "File"], map: ["Mots", "Words"],
};
const MISSING = {
  owner: ["Sans responsable", "No owner"], source: ["Sans source", "No source"], segment: ["Sans segment", "No segment"],
  stage: ["Sans étape", "No stage"], status: ["Sans statut", "No status"],
};

// What a person reads for a word of the API: a stage, a field, an order. A key of notes that has no word here is one itself.
export const label = (word) => LABELS[word]?.[chosen === "fr" ? 0 : 1] ?? word.replace(/^notes\./, "");
export const valueLabel = (field, value) =>
  value === null ? MISSING[field][chosen === "fr" ? 0 : 1] : ["stage", "status"].includes(field) ? label(value) : value;

// A value of a field as a person reads it.
export function textOf(field, value) {
  if (value === null || value === undefined || value === "") return say("nobody");
  if (["stage", "status"].includes(field)) return label(value);
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value.join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// Making a format takes a hundred times as long as using it, and hundreds of cards use several.
function kept(Format, options, locale) {
  const made = {};
  return (value) => {
    if (isNaN(value)) return String(value); // an import may have kept 2026-02-31 as a day
    const wanted = locale ?? (chosen === "fr" ? "fr-FR" : "en-GB");
    return (made[wanted] ??= new Format(wanted, options)).format(value);
  };
}

const whole = kept(Intl.NumberFormat, { maximumFractionDigits: 0 });
export const number = kept(Intl.NumberFormat, { maximumFractionDigits: 2 });
export const money = (n) => `${whole(n)} €`;
export const percent = (share) => `${whole(100 * share)} %`;
const inMinutes = kept(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "short" });
export const moment = (iso) => inMinutes(new Date(iso));
const inDays = kept(Intl.DateTimeFormat, { timeZone: "UTC", day: "numeric", month: "short" });
const inMonths = kept(Intl.DateTimeFormat, { timeZone: "UTC", month: "short", year: "2-digit" });
const isoDay = kept(Intl.DateTimeFormat, undefined, "sv-SE");
// A day ("2026-11-30") is one in every time zone.
export const day = (iso) => inDays(new Date(`${iso.slice(0, 10)}T12:00:00Z`));
export const month = (iso) => inMonths(new Date(`${iso}-15T12:00:00Z`));
export const daysSince = (iso) => Math.max(0, Math.floor((Date.now() - new Date(iso)) / 86_400_000));
// Today where the person is, as a day.
export const today = () => isoDay(new Date());
